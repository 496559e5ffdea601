"""Opening a stream, and moving its window."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from fleet_protocol.documents.stream import WindowRequest
from fleet_server.http.answers import document, takes
from fleet_server.http.gate import Asker, FleetRoute
from fleet_server.http.list_routes import SortText, WhereText
from fleet_server.http.stream import Streams

MAX_MARKED_TEXT = 500 * 49
router = APIRouter(tags=["stream"], route_class=FleetRoute)
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "docs/api.md"}
}


@router.get("/v1/stream", responses=EVENTS, response_class=Response)
async def stream(
    request: Request,
    caller: Asker,
    where: WhereText = "",
    sort: SortText = "",
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    count: Annotated[int, Query(ge=0, le=500)] = 50,
    marked: Annotated[str, Query(max_length=MAX_MARKED_TEXT, description="names, by commas")] = "",
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """Counters, causes, fleets, and the rows of one window as they change; goes on from `Last-Event-ID`."""
    names = [name for name in marked.split(",") if name]
    asked = {"where": where, "sort": sort, "offset": offset, "count": count, "marked": names}
    return _streams(request).open(caller, WindowRequest.from_value(asked), last_event_id)


@router.put("/v1/streams/{stream_id}/window", status_code=204, openapi_extra=takes(WindowRequest))
async def window(request: Request, stream_id: str, caller: Asker) -> Response:
    """Show other rows from now on."""
    asked = await document(request, WindowRequest)
    streams = _streams(request)
    found = streams.find(stream_id, caller)
    found.view.ask(asked)
    await streams.hurry()
    return Response(status_code=204)


def _streams(request: Request) -> Streams:
    found = request.app.state.streams
    assert isinstance(found, Streams)
    return found
