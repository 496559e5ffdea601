"""What operators ask: tokens, enrolments, fleets, plans, devices, events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from fleet_protocol.documents.enrolment import EnrolmentRow, IssuedToken, NewToken
from fleet_protocol.documents.fleet import Applied, DeviceView, OnlineKeys, Plan, PlanRequest
from fleet_protocol.wire import strict_json
from fleet_server import look
from fleet_server.errors import NotFoundError
from fleet_server.http.answers import answer, document, full, in_thread, listed, said, services, takes
from fleet_server.http.auth import Operator, Viewer
from fleet_server.services import Services
from provisioning.authority.records import TokenRecord

router = APIRouter(tags=["operator"])


@router.get("/v1/status")
async def status(request: Request, _caller: Viewer) -> Response:
    """How the server itself is: broker, counters."""
    return said(await in_thread(services(request).status))


@router.get("/v1/online-keys", responses={200: {"model": OnlineKeys}})
async def online_keys(request: Request, _caller: Viewer) -> Response:
    """Public keys of what the server signs with."""
    keys = services(request).keys
    return answer(
        OnlineKeys(
            director=keys.director.public.pem.decode(),
            time=keys.time.public.pem.decode(),
            snapshot=keys.snapshot.public.pem.decode(),
            timestamp=keys.timestamp.public.pem.decode(),
        )
    )


@router.post("/v1/tokens", openapi_extra=takes(NewToken), responses={200: {"model": IssuedToken}})
async def new_token(request: Request, caller: Operator) -> Response:
    """A new enrolment token; its secret is in this answer only."""
    wish = await document(request, NewToken)
    return answer(await in_thread(_new_token, services(request), wish, caller.name))


def _new_token(parts: Services, wish: NewToken, who: str) -> IssuedToken:
    issued = parts.desk.issue_token(wish, parts.now(), who)
    parts.record(who, "issue token", issued.token_id, uses=wish.uses, auto_approve=wish.auto_approve)
    return issued


@router.get("/v1/tokens")
async def tokens(request: Request, _caller: Viewer) -> Response:
    """All tokens, without their secrets."""
    parts = services(request)
    return said({"tokens": [_token(record) for record in await in_thread(parts.store.tokens)]})


def _token(record: TokenRecord) -> dict[str, Any]:
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
async def enrolments(request: Request, _caller: Viewer) -> Response:
    """The queue and its history, newest first."""
    rows = await in_thread(services(request).desk.rows)
    return listed("enrolments", [full(row) for row in rows])


@router.post("/v1/enrolments/{request_id}/approve", responses={200: {"model": EnrolmentRow}})
async def approve(request: Request, request_id: str, caller: Operator) -> Response:
    """Certify the key."""
    return answer(await in_thread(_approve, services(request), request_id, caller.name))


def _approve(parts: Services, request_id: str, who: str) -> EnrolmentRow:
    row = parts.desk.approve(request_id, who, parts.now())
    parts.record(who, "approve", row.device_id or request_id, request_id=request_id, fingerprint=row.fingerprint)
    return row


@router.post("/v1/enrolments/{request_id}/reject", responses={200: {"model": EnrolmentRow}})
async def reject(request: Request, request_id: str, caller: Operator) -> Response:
    """Turn it down for good."""
    return answer(await in_thread(_reject, services(request), request_id, caller.name))


def _reject(parts: Services, request_id: str, who: str) -> EnrolmentRow:
    row = parts.desk.reject(request_id, who, parts.now())
    parts.record(who, "reject", request_id, fingerprint=row.fingerprint)
    return row


@router.get("/v1/fleets")
async def fleets(request: Request, _caller: Viewer) -> Response:
    """Every fleet as it was applied."""
    found = await in_thread(services(request).store.fleets)
    return listed("fleets", [full(fleet) for fleet in found])


@router.post("/v1/plan", openapi_extra=takes(PlanRequest), responses={200: {"model": Plan}})
async def plan(request: Request, _caller: Viewer) -> Response:
    """What a change would do; writes nothing."""
    asked = await document(request, PlanRequest)
    return await in_thread(lambda: answer(services(request).director.plan(asked)))


@router.post("/v1/apply", openapi_extra=takes(Plan), responses={200: {"model": Applied}})
async def apply(request: Request, caller: Operator) -> Response:
    """Do exactly what a plan says."""
    planned = await document(request, Plan)
    parts = services(request)
    return answer(await in_thread(parts.director.apply, planned, caller.name, parts.now()))


@router.get("/v1/devices")
async def devices(request: Request, _caller: Viewer) -> Response:
    """Every device."""
    parts = services(request)
    return await in_thread(lambda: listed("devices", [full(v) for v in look.all_devices(parts.store, parts.now())]))


@router.get("/v1/devices/{device_id}", responses={200: {"model": DeviceView}})
async def device(request: Request, device_id: str, _caller: Viewer) -> Response:
    """One device with its newest events."""
    return answer(await in_thread(_one, services(request), device_id))


def _one(parts: Services, device_id: str) -> DeviceView:
    record = parts.store.device(device_id)
    if record is None or record.revoked_at is not None:
        raise NotFoundError("there is no such device", element=device_id[:48])
    return look.one_device(parts.store, record, parts.now())


@router.post("/v1/devices/{device_id}/revoke")
async def revoke(request: Request, device_id: str, caller: Operator) -> Response:
    """End a device's identity, at once and for good."""
    await in_thread(_revoke, services(request), device_id, caller.name)
    return said({"device_id": device_id, "revoked": True})


def _revoke(parts: Services, device_id: str, who: str) -> None:
    parts.sessions.end(device_id)
    parts.desk.revoke(device_id, parts.now())
    parts.sessions.end(device_id)
    parts.record(who, "revoke", device_id)


@router.get("/v1/events")
async def events(
    request: Request,
    _caller: Viewer,
    device: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Events, newest first."""
    found = await in_thread(services(request).store.events, device, limit)
    rows = [{**e.event.model_dump(mode="json", exclude_none=True), "device_id": e.device_id} for e in found]
    return listed("events", [strict_json.dumps(row) for row in rows])
