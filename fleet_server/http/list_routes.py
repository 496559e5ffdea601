"""Lists: filtered, sorted and cut into pages here, in the grammar of `fleet_protocol.wire.where`. Each keeps to the
caller's scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from fleet_protocol.documents.fleet import FleetSpec
from fleet_protocol.documents.stream import Page
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import MAX_INTEGER
from fleet_protocol.wire.where import Value, Where, parse_sort, parse_where
from fleet_server import look
from fleet_server.board import order
from fleet_server.board.row import Row
from fleet_server.errors import BadRequestError
from fleet_server.http.answers import full, in_thread, listed, services
from fleet_server.http.gate import Asker, Caller, FleetRoute
from fleet_server.services import Services
from fleet_server.store.records import StoredEvent

SCAN = 1000
MOST_SCANNED = 20_000
WhereText = Annotated[str, Query(max_length=500, description="site=lyon state!=ok (docs/api.md)")]
SortText = Annotated[str, Query(max_length=300, description="-memory,name")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next` of the page before")]
Number = Annotated[int | None, Query(ge=0, le=MAX_INTEGER)]
router = APIRouter(tags=["lists"], route_class=FleetRoute)
PAGE: dict[int | str, dict[str, Any]] = {200: {"model": Page}}


@router.get("/v1/devices", responses=PAGE)
async def devices(
    request: Request,
    caller: Asker,
    where: WhereText = "",
    sort: SortText = "",
    limit: Limit = 100,
    cursor: Cursor = None,
    view: Literal["row", "full"] = "row",
) -> Response:
    """Devices: a row each, or (`view=full`) all that they said."""
    parts = services(request)
    query = order.Query(parse_where(where), parse_sort(sort), caller.scope)
    await parts.board.settle()
    rows = list(parts.board.rows.values())
    found, following, total = await in_thread(order.page, query, rows, parts.clock(), cursor, limit)
    items = await in_thread(_views, parts, found) if view == "full" else [row.encoded for row in found]
    return listed("DeviceList", items, following=following, total=total)


def _views(parts: Services, rows: Sequence[Row]) -> list[bytes]:
    names = [row.device_id for row in rows]
    views = {view.device_id: full(view) for view in look.all_devices(parts.store, parts.now(), names)}
    return [views[name] for name in names if name in views]


@router.get("/v1/events", responses=PAGE)
async def events(
    request: Request,
    caller: Asker,
    device: Annotated[str | None, Query(max_length=48)] = None,
    where: WhereText = "",
    limit: Limit = 100,
    cursor: Number = None,
    after: Number = None,
) -> Response:
    """Events, newest first; with `after` those that came later than this number, oldest first.

    A page may hold fewer than `limit` and still have a next one: so many were looked through."""
    parts = services(request)
    if cursor is not None and after is not None:
        raise BadRequestError("cursor and after exclude each other", element="events")
    await parts.board.settle()
    wanted = _event_filter(parse_where(where), parts.board.rows, caller)
    items, following = await in_thread(_scan, parts, device, wanted, limit, cursor, after)
    return listed("EventList", items, following=following)


def _event_filter(where: Where, rows: dict[str, Row], caller: Caller) -> Callable[[StoredEvent], bool]:
    def wanted(stored: StoredEvent) -> bool:
        row = rows.get(stored.device_id)
        if caller.scope and (row is None or not caller.sees(row.labels)):
            return False
        return where.holds(lambda field: _event_fields(stored, row, field))

    return wanted


def _event_fields(stored: StoredEvent, row: Row | None, field: str) -> Iterable[Value]:
    match field:
        case "name" | "device":
            return (stored.device_id,)
        case "kind" | "severity" | "app" | "service" | "text" | "seq" | "at":
            value = getattr(stored.event, field)
            return () if value is None else (value,)
        case _:
            label = row.labels.get(field.removeprefix("label.")) if row else None
            return () if label is None else (label,)


def _scan(
    parts: Services,
    device: str | None,
    wanted: Callable[[StoredEvent], bool],
    limit: int,
    cursor: int | None,
    after: int | None,
) -> tuple[list[bytes], str | None]:
    out: list[bytes] = []
    at = after if after is not None else cursor
    for _ in range(MOST_SCANNED // SCAN):
        if after is not None:
            part = parts.store.events_after(device, at or 0, SCAN)
        else:
            part = parts.store.events(device, SCAN, at)
        for stored in part:
            at = stored.number
            if wanted(stored):
                out.append(_event(stored))
                if len(out) == limit:
                    return out, str(at)
        if len(part) < SCAN:
            # Who follows goes on from here; who reads back has seen all of it.
            return out, str(at) if after is not None and at is not None else None
    return out, str(at)


def _event(stored: StoredEvent) -> bytes:
    told = {"device_id": stored.device_id, "number": stored.number, "received_at": stored.received_at}
    return strict_json.dumps({**stored.event.model_dump(mode="json", exclude_none=True), **told})


@router.get("/v1/fleets", responses=PAGE)
async def fleets(
    request: Request, caller: Asker, where: WhereText = "", limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Every fleet as it was applied, by name, that may select a device of the caller's scope."""
    wanted = parse_where(where)
    every = await in_thread(services(request).store.fleets)
    found = [f for f in every if _touches(f, caller) and wanted.holds(lambda field, f=f: _fleet_fields(f, field))]  # type: ignore[misc]
    part = [f for f in found if cursor is None or f.name > cursor][:limit]
    more = bool(part) and part[-1].name != found[-1].name
    following = part[-1].name if more else None
    return listed("FleetList", [full(fleet) for fleet in part], following=following, total=len(found))


def _touches(fleet: FleetSpec, caller: Caller) -> bool:
    return all(fleet.select.get(key, value) == value for key, value in caller.scope.items())


def _fleet_fields(fleet: FleetSpec, field: str) -> Iterable[Value]:
    match field:
        case "name":
            return (fleet.name,)
        case "app":
            return [said for at in fleet.run for said in (at.app, f"{at.app}@{at.version}")]
        case _:
            value = fleet.select.get(field.removeprefix("label."))
            releases = [at.version for at in fleet.run if at.app == field]
            return releases if value is None else (value,)
