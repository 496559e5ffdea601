"""Enrolment as operators see it: tokens and the approval queue."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fleet_protocol.documents.enrolment import EnrolmentRow, IssuedToken, NewToken
from fleet_protocol.wire import strict_json
from fleet_server.errors import NotAllowedError, NotFoundError
from fleet_server.http.answers import answer, document, full, in_thread, listed, services, takes
from fleet_server.http.gate import Asker, Caller, FleetRoute
from fleet_server.services import Services
from provisioning.authority.records import TokenRecord

router = APIRouter(tags=["enrolment"], route_class=FleetRoute)


@router.post("/v1/tokens", openapi_extra=takes(NewToken), responses={200: {"model": IssuedToken}})
async def new_token(request: Request, caller: Asker) -> Response:
    """A new enrolment token; its secret is in this answer only. Its labels must lie in the caller's scope."""
    wish = await document(request, NewToken)
    return answer(await in_thread(_new_token, services(request), wish, caller))


def _new_token(parts: Services, wish: NewToken, caller: Caller) -> IssuedToken:
    if not caller.sees(wish.labels):
        wanted = " ".join(f"--label {key}={value}" for key, value in sorted(caller.scope.items()))
        raise NotAllowedError(
            f"{caller.name} may enrol devices of a scope only", element="enrolment token", hint=f"add {wanted}"
        )
    issued = parts.desk.issue_token(wish, parts.now(), caller.name)
    parts.record(caller.name, "issue token", issued.token_id, uses=wish.uses, auto_approve=wish.auto_approve)
    return issued


@router.get("/v1/tokens")
async def tokens(request: Request, caller: Asker) -> Response:
    """All enrolment tokens, without their secrets."""
    found = await in_thread(services(request).store.tokens)
    return listed("TokenList", [strict_json.dumps(_token(record)) for record in found if caller.sees(record.labels)])


def _token(record: TokenRecord) -> dict[str, object]:
    return {
        "token_id": record.token_id,
        "labels": dict(record.labels),
        "uses": record.uses,
        "uses_left": record.uses_left,
        "issued_at": record.issued_at,
        "issued_by": record.issued_by,
        "expires": record.expires,
        "auto_approve": record.auto_approve,
        "device_id": record.device_id,
    }


@router.get("/v1/enrolments")
async def enrolments(request: Request, caller: Asker) -> Response:
    """The queue and its history, newest first."""
    rows = await in_thread(services(request).desk.rows)
    return listed("EnrolmentList", [full(row) for row in rows if caller.sees(row.labels)])


@router.post("/v1/enrolments/{request_id}/approve", responses={200: {"model": EnrolmentRow}})
async def approve(request: Request, request_id: str, caller: Asker) -> Response:
    """Certify the key."""
    return answer(await in_thread(_approve, services(request), request_id, caller))


def _approve(parts: Services, request_id: str, caller: Caller) -> EnrolmentRow:
    _check_seen(parts, request_id, caller)
    row = parts.desk.approve(request_id, caller.name, parts.now())
    parts.board.touch([row.device_id or ""])
    parts.record(
        caller.name, "approve", row.device_id or request_id, request_id=request_id, fingerprint=row.fingerprint
    )
    return row


@router.post("/v1/enrolments/{request_id}/reject", responses={200: {"model": EnrolmentRow}})
async def reject(request: Request, request_id: str, caller: Asker) -> Response:
    """Turn it down for good."""
    return answer(await in_thread(_reject, services(request), request_id, caller))


def _reject(parts: Services, request_id: str, caller: Caller) -> EnrolmentRow:
    _check_seen(parts, request_id, caller)
    row = parts.desk.reject(request_id, caller.name, parts.now())
    parts.record(caller.name, "reject", request_id, fingerprint=row.fingerprint)
    return row


def _check_seen(parts: Services, request_id: str, caller: Caller) -> None:
    record = parts.store.enrolment(request_id)
    if record is None or not caller.sees(record.labels):
        raise NotFoundError("there is no such request", element=request_id[:40], hint="fleet enroll list")
