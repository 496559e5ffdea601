"""Who is asking. Every route names one of the dependencies at the end of this module."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from fleet_server.errors import NotAllowedError, NotSignedInError, TooManyRequestsError
from fleet_server.http.answers import in_thread, services
from fleet_server.services import Services
from fleet_server.store.records import Role

RANK: dict[Role, int] = {"viewer": 0, "operator": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Caller:
    """An operator with a role, or a device."""

    name: str
    role: Role | None = None
    device_id: str | None = None


async def identify(request: Request) -> Caller:
    """The caller, from `Authorization: Bearer` or, for image tools, `Basic` with the token as password."""
    return await in_thread(_identify, services(request), _token(request), request.url.path)


def _identify(parts: Services, token: str, path: str) -> Caller:
    device_id = parts.sessions.device(token, parts.now())
    if device_id is not None:
        return Caller(f"device {device_id}", device_id=device_id)
    operator = parts.store.operator_by_token(hashlib.sha256(token.encode()).hexdigest())
    if operator is None:
        raise NotSignedInError("the token is not known, or not any more", element=path)
    return Caller(operator.name, role=operator.role)


def _token(request: Request) -> str:
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


def _operator(least: Role) -> Callable[[Request], Awaitable[Caller]]:
    async def check(request: Request) -> Caller:
        caller = await identify(request)
        if caller.role is None or RANK[caller.role] < RANK[least]:
            raise NotAllowedError(f"{caller.name} may not do this: it takes the role {least}", element=request.url.path)
        return caller

    return check


async def _device(request: Request) -> Caller:
    caller = await identify(request)
    if caller.device_id is None:
        raise NotAllowedError("only a device may ask for this", element=request.url.path)
    return caller


async def _slowly(request: Request) -> None:
    parts = services(request)
    address, now = request.client.host if request.client else "", parts.clock()
    if not (parts.limits.address.allows(address, now) and parts.limits.everybody.allows("", now)):
        raise TooManyRequestsError("too many attempts", element=address, retry=True)


Viewer = Annotated[Caller, Depends(_operator("viewer"))]
"""Any operator: may look."""
Operator = Annotated[Caller, Depends(_operator("operator"))]
"""May change what runs."""
Admin = Annotated[Caller, Depends(_operator("admin"))]
"""May change who may change."""
Device = Annotated[Caller, Depends(_device)]
"""A device within its session."""
Anybody = Annotated[Caller, Depends(identify)]
"""A device, or any operator."""
Slowly = Depends(_slowly)
"""Whoever it is, not too often; for routes that take no token."""
