"""What operators change: plans and devices. Each keeps to the caller's scope."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fleet_protocol.documents.api import DeviceRevoked
from fleet_protocol.documents.fleet import Applied, DeviceView, Plan, PlanRequest
from fleet_server import look
from fleet_server.errors import NotAllowedError, NotFoundError
from fleet_server.http.answers import answer, document, in_thread, services, takes
from fleet_server.http.gate import Asker, Caller, FleetRoute
from fleet_server.services import Services
from provisioning.authority.records import DeviceRecord

router = APIRouter(tags=["operator"], route_class=FleetRoute)


@router.post("/v1/plan", openapi_extra=takes(PlanRequest), responses={200: {"model": Plan}})
async def plan(request: Request, caller: Asker) -> Response:
    """What a change would do; writes nothing."""
    asked = await document(request, PlanRequest)
    parts = services(request)
    await in_thread(_check_reach, parts, asked, caller)
    return await in_thread(lambda: answer(_plan(parts, asked, caller)))


def _plan(parts: Services, asked: PlanRequest, caller: Caller) -> Plan:
    with parts.store.only_reading():
        return parts.desk_of_rollouts.plan(asked, parts.now(), caller.scope)


@router.post("/v1/apply", openapi_extra=takes(Plan), responses={200: {"model": Applied}})
async def apply(request: Request, caller: Asker, *, start: bool = True) -> Response:
    """Do exactly what a plan says; `start=false`: rollouts are made and not begun."""
    planned = await document(request, Plan)
    parts = services(request)
    await in_thread(_check_reach, parts, planned.request, caller)
    desk, now = parts.desk_of_rollouts, parts.now()
    return answer(await in_thread(desk.apply, planned, caller.name, now, caller.scope, start=start))


def _check_reach(parts: Services, asked: PlanRequest, caller: Caller) -> None:
    """A scoped caller may change only fleets that can select nothing outside of the scope, before and after."""
    if not caller.scope:
        return
    named = {*(fleet.name for fleet in asked.fleets), *asked.remove}
    for fleet in (*asked.fleets, *(f for f in parts.store.fleets() if f.name in named)):
        if fleet.select_all or not caller.sees(fleet.select):
            wanted = ", ".join(f"{key}={value}" for key, value in sorted(caller.scope.items()))
            raise NotAllowedError(
                f"it reaches beyond {caller.name}'s scope", element=f"fleet {fleet.name}", hint=f"select {wanted}"
            )


@router.get("/v1/devices/{device_id}", responses={200: {"model": DeviceView}})
async def device(request: Request, device_id: str, caller: Asker) -> Response:
    """One device with its newest events."""
    return answer(await in_thread(_one, services(request), device_id, caller))


def _one(parts: Services, device_id: str, caller: Caller) -> DeviceView:
    return look.one_device(parts.store, seen_device(parts, device_id, caller), parts.now())


def seen_device(parts: Services, device_id: str, caller: Caller) -> DeviceRecord:
    """An active device of the caller's scope. Raises NotFoundError: that there is another is not said."""
    record = parts.store.device(device_id)
    if record is None or record.revoked_at is not None or not caller.sees(record.labels):
        raise NotFoundError("there is no such device", element=device_id[:48], hint="fleet get devices")
    return record


@router.post("/v1/devices/{device_id}/revoke", responses={200: {"model": DeviceRevoked}})
async def revoke(request: Request, device_id: str, caller: Asker) -> Response:
    """End a device's identity, at once and for good."""
    await in_thread(_revoke, services(request), device_id, caller)
    return answer(DeviceRevoked(device_id=device_id, revoked=True))


def _revoke(parts: Services, device_id: str, caller: Caller) -> None:
    seen_device(parts, device_id, caller)
    parts.sessions.end(device_id)
    parts.desk.revoke(device_id, parts.now())
    parts.sessions.end(device_id)
    parts.board.touch([device_id])
    parts.record(caller.name, "revoke", device_id)
    parts.rollouts.heard([device_id])
