"""Rollouts, pins and quarantine over HTTP. A caller with a scope sees rollouts of fleets that lie within it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from fleet_protocol.documents.operations import (
    ApprovalRequest,
    LiftRequest,
    PinRequest,
    PinView,
    QuarantineView,
    VerbRequest,
)
from fleet_protocol.documents.rollout import RolloutView, WhyNot
from fleet_protocol.wire import strict_json
from fleet_server.controller import views
from fleet_server.controller.desk import asked_of
from fleet_server.errors import NotFoundError
from fleet_server.http.answers import answer, document, full, in_thread, listed, services, takes
from fleet_server.http.gate import Asker, Caller, FleetRoute
from fleet_server.services import Services
from fleet_server.store.rollout_records import PinRow, RolloutRow

router = APIRouter(tags=["rollouts"], route_class=FleetRoute)


@router.get("/v1/rollouts")
async def rollouts(request: Request, caller: Asker, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
    """The newest ones, newest first, without causes."""
    return listed("RolloutList", await in_thread(_all, services(request), caller, limit))


def _all(parts: Services, caller: Caller, limit: int) -> list[bytes]:
    fleets = _fleets(parts, caller)
    names = [r.rollout_id for r in parts.store.rollouts() if fleets is None or r.fleet in fleets]
    return [full(one) for one in views.all_views(parts.desk_of_rollouts, names[-limit:], parts.now())]


def _fleets(parts: Services, caller: Caller) -> frozenset[str] | None:
    """Fleets that lie within the caller's scope; None: all."""
    if not caller.scope:
        return None
    return frozenset(f.name for f in parts.store.fleets() if not f.select_all and caller.sees(f.select))


def _row(parts: Services, rollout_id: str, caller: Caller) -> RolloutRow:
    row, fleets = parts.store.rollout(rollout_id), _fleets(parts, caller)
    if row is None or (fleets is not None and row.fleet not in fleets):
        raise NotFoundError("there is no such rollout", element=rollout_id[:40])
    return row


@router.get("/v1/rollouts/{rollout_id}", responses={200: {"model": RolloutView}})
async def rollout(request: Request, rollout_id: str, caller: Asker) -> Response:
    """One, with what it waits for and why its devices are where they are."""
    return answer(await in_thread(_view, services(request), rollout_id, caller))


def _view(parts: Services, rollout_id: str, caller: Caller) -> RolloutView:
    _row(parts, rollout_id, caller)
    return views.rollout_view(parts.desk_of_rollouts, rollout_id, parts.now())


@router.get("/v1/rollouts/{rollout_id}/devices")
async def devices(request: Request, rollout_id: str, caller: Asker) -> Response:
    """Every device of it: wave, phase, why."""
    return listed("RolloutDeviceList", await in_thread(_devices, services(request), rollout_id, caller))


def _devices(parts: Services, rollout_id: str, caller: Caller) -> list[bytes]:
    _row(parts, rollout_id, caller)
    return [strict_json.dumps(row) for row in views.devices(parts.desk_of_rollouts, rollout_id, parts.now())]


@router.get("/v1/rollouts/{rollout_id}/devices/{device_id}", responses={200: {"model": WhyNot}})
async def why(request: Request, rollout_id: str, device_id: str, caller: Asker) -> Response:
    """The causal chain of one device."""
    return answer(await in_thread(_why, services(request), rollout_id, device_id, caller))


def _why(parts: Services, rollout_id: str, device_id: str, caller: Caller) -> WhyNot:
    _row(parts, rollout_id, caller)
    return views.why_not(parts.desk_of_rollouts, rollout_id, device_id, parts.now())


@router.get("/v1/rollouts/{rollout_id}/history")
async def history(request: Request, rollout_id: str, caller: Asker) -> Response:
    """What was asked and decided, oldest first."""
    return listed("RolloutHistory", await in_thread(_history, services(request), rollout_id, caller))


def _history(parts: Services, rollout_id: str, caller: Caller) -> list[bytes]:
    return [strict_json.dumps(said) for said in views.history(parts.store, _row(parts, rollout_id, caller))]


@router.post(
    "/v1/rollouts/{rollout_id}/verbs", openapi_extra=takes(VerbRequest), responses={200: {"model": RolloutView}}
)
async def ask(request: Request, rollout_id: str, caller: Asker) -> Response:
    """Ask it for something; 409 in its own words when that cannot be done now."""
    asked = await document(request, VerbRequest)
    said = {"device_id": asked.device_id, "reason": asked.reason}
    return answer(await in_thread(_ask, services(request), rollout_id, asked.act, said, caller))


@router.post(
    "/v1/rollouts/{rollout_id}/approve", openapi_extra=takes(ApprovalRequest), responses={200: {"model": RolloutView}}
)
async def approve(request: Request, rollout_id: str, caller: Asker) -> Response:
    """Agree that a wave opens."""
    asked = await document(request, ApprovalRequest)
    said = {"wave": asked.wave, "reason": asked.reason}
    return answer(await in_thread(_ask, services(request), rollout_id, "approve", said, caller))


@router.post(
    "/v1/rollouts/{rollout_id}/deny", openapi_extra=takes(ApprovalRequest), responses={200: {"model": RolloutView}}
)
async def deny(request: Request, rollout_id: str, caller: Asker) -> Response:
    """Do not agree: it is paused."""
    asked = await document(request, ApprovalRequest)
    said = {"wave": asked.wave, "reason": asked.reason}
    return answer(await in_thread(_ask, services(request), rollout_id, "deny", said, caller))


def _ask(parts: Services, rollout_id: str, act: str, said: dict[str, str], caller: Caller) -> RolloutView:
    _row(parts, rollout_id, caller)
    parts.desk_of_rollouts.ask(rollout_id, asked_of(act, caller.name, said), parts.now())
    return views.rollout_view(parts.desk_of_rollouts, rollout_id, parts.now())


@router.get("/v1/quarantine")
async def quarantine(request: Request) -> Response:
    """Releases that nobody gets now."""
    rows = await in_thread(services(request).store.quarantines)
    made = [
        QuarantineView(app=q.app, release=q.release, since=q.since, rollout_id=q.rollout_id, reason=q.reason[:400])
        for q in rows
    ]
    return listed("QuarantineList", [full(one) for one in made])


@router.post("/v1/quarantine/{app}/{release}/lift", openapi_extra=takes(LiftRequest))
async def lift(request: Request, app: str, release: str, caller: Asker) -> Response:
    """It may be brought to devices again."""
    asked = await document(request, LiftRequest)
    parts = services(request)
    await in_thread(parts.desk_of_rollouts.lift, app, release, caller.name, asked.reason, parts.now())
    return listed("QuarantineList", [])


@router.get("/v1/pins")
async def pins(request: Request, caller: Asker) -> Response:
    """Apps that stay as they are on a device."""
    return listed("PinList", await in_thread(_pins, services(request), caller))


def _pins(parts: Services, caller: Caller) -> list[bytes]:
    mine = {d.device_id for d in parts.store.devices() if caller.sees(d.labels)}
    return [full(_pin_view(row)) for row in parts.store.pins() if row.device_id in mine]


@router.post("/v1/devices/{device_id}/pins", openapi_extra=takes(PinRequest), responses={200: {"model": PinView}})
async def pin(request: Request, device_id: str, caller: Asker) -> Response:
    """An app stays as it is on a device, for a time."""
    asked = await document(request, PinRequest)
    parts = services(request)
    now = parts.now()
    until = now + asked.for_s if asked.for_s else 0
    row = PinRow(device_id, asked.app, asked.version or "", caller.name, now, until, asked.reason)
    return answer(await in_thread(_pin, parts, row, caller))


def _pin(parts: Services, row: PinRow, caller: Caller) -> PinView:
    _seen(parts, row.device_id, caller)
    return _pin_view(parts.desk_of_rollouts.pin(row))


@router.post("/v1/devices/{device_id}/pins/{app}/end")
async def unpin(request: Request, device_id: str, app: str, caller: Asker) -> Response:
    """It goes with its fleet again."""
    await in_thread(_unpin, services(request), device_id, app, caller)
    return listed("PinList", [])


def _unpin(parts: Services, device_id: str, app: str, caller: Caller) -> None:
    _seen(parts, device_id, caller)
    parts.desk_of_rollouts.unpin(device_id, app, caller.name, parts.now())


def _seen(parts: Services, device_id: str, caller: Caller) -> None:
    device = parts.store.device(device_id)
    if device is None or device.revoked_at is not None or not caller.sees(device.labels):
        raise NotFoundError("there is no such device", element=device_id[:48])


def _pin_view(row: PinRow) -> PinView:
    return PinView(
        device_id=row.device_id,
        app=row.app,
        release=row.release,
        by=row.by,
        since=row.since,
        until=row.until or None,
        reason=row.reason,
    )
