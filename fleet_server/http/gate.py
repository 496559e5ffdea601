"""The one door: who is asking, and whether they may. Every route of ours is a `FleetRoute`; none decides by itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from fleet_protocol.wire.errors import inert
from fleet_server.acting import Acting, acting
from fleet_server.errors import NotAllowedError, NotSignedInError, TooManyRequestsError
from fleet_server.http import access
from fleet_server.http.access import Access, Party
from fleet_server.http.answers import in_thread, services
from fleet_server.services import Services
from fleet_server.store.records import Role

MAX_WHY = 400
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Caller:
    """An operator with role and scope, a device, or nobody in particular."""

    name: str = ""
    role: Role | None = None
    device_id: str | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""  # the address that the request came from

    def sees(self, labels: Mapping[str, str]) -> bool:
        """Whether a device with these labels is in the caller's scope."""
        return access.within(self.scope, labels)


class FleetRoute(APIRoute):
    """A route behind the door."""

    def get_route_handler(self) -> Handler:
        """The route's own handler, which runs for those who may."""
        inner, path = super().get_route_handler(), self.path

        async def handle(request: Request) -> Response:
            caller = request.state.caller = await _admit(request, access.rule(request.method, path))
            why = inert(request.headers.get("roadstead-reason", ""))[:MAX_WHY]
            token = acting.set(Acting(caller.origin, why))
            try:
                return await inner(request)
            finally:
                acting.reset(token)

        return handle


def _caller(request: Request) -> Caller:
    found = request.state.caller
    assert isinstance(found, Caller)
    return found


Asker = Annotated[Caller, Depends(_caller)]
"""The caller, whom the door let through; for routes that want to know."""


async def _admit(request: Request, line: Access | None) -> Caller:
    """Raises NotSignedInError, NotAllowedError, TooManyRequestsError."""
    address = request.client.host if request.client else ""
    if line is None:
        raise NotAllowedError("nobody may do this", element=request.url.path)
    if line.who in (Party.ANYONE, Party.SLOWLY):
        if line.who is Party.SLOWLY:
            _slowly(services(request), address)
        return Caller(origin=address)
    caller = await _identified(request, address)
    request.state.caller = caller  # known also to who answers a refusal
    if not services(request).limits.caller.allows(caller.name, services(request).clock()):
        raise TooManyRequestsError("too many requests with this token", element=caller.name, retry=True)
    reason = None if caller.device_id else access.allows(line, caller.role, caller.scope)
    if caller.device_id and line.who not in (Party.DEVICE, Party.EITHER):
        reason = f"it takes the role {line.who}"
    if reason:
        raise NotAllowedError(
            f"{caller.name} may not do this: {reason}",
            element=f"{request.method} {request.url.path}",
            hint="fleet whoami",
        )
    return caller


async def _identified(request: Request, address: str) -> Caller:
    parts = services(request)
    try:
        return await in_thread(_look_up, parts, _token(request), address)
    except NotSignedInError:
        _slowly(parts, address)  # guessing is slow
        raise


def _look_up(parts: Services, token: str, address: str) -> Caller:
    now = parts.now()
    device_id = parts.sessions.device(token, now)
    if device_id is not None:
        return Caller(f"device {device_id}", device_id=device_id, origin=address)
    operator = parts.store.operator_by_token(hashlib.sha256(token.encode()).hexdigest())
    if operator is None or (operator.expires is not None and operator.expires <= now):
        raise NotSignedInError("the token is not known, or not any more", hint="fleet ctx list")
    return Caller(operator.name, operator.role, scope=operator.scope, origin=address)


def _token(request: Request) -> str:
    """From `Authorization: Bearer` or, for image tools, `Basic` with the token as password."""
    kind, _, rest = request.headers.get("authorization", "").partition(" ")
    match kind.lower():
        case "bearer" if rest:
            return rest.strip()
        case "basic" if request.url.path.startswith("/v2"):
            try:
                return base64.b64decode(rest, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError) as error:
                raise NotSignedInError("the Basic credentials cannot be read") from error
        case _:
            raise NotSignedInError("a token is wanted in the header Authorization", element=request.url.path)


def _slowly(parts: Services, address: str) -> None:
    now = parts.clock()
    if not (parts.limits.address.allows(address, now) and parts.limits.everybody.allows("", now)):
        raise TooManyRequestsError("too many attempts", element=address, retry=True)
