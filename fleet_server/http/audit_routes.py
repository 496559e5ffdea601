"""The audit log over HTTP: every change, approval and refusal, as links of a chain that the reader can check."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import MAX_INTEGER
from fleet_protocol.wire.where import Value, Where, parse_where
from fleet_server.errors import BadRequestError
from fleet_server.http.answers import in_thread, listed, services
from fleet_server.http.gate import FleetRoute
from fleet_server.http.list_routes import MOST_SCANNED, PAGE, SCAN, Limit, Number, WhereText
from fleet_server.services import Services
from fleet_server.store import audit
from fleet_server.store.records import AuditRow

router = APIRouter(tags=["audit"], route_class=FleetRoute)


@router.get("/v1/audit", responses=PAGE)
async def entries(
    request: Request, where: WhereText = "", limit: Limit = 100, cursor: Number = None, after: Number = None
) -> Response:
    """Rows, newest first; with `after` those behind this row, oldest first: from 0 on that is the whole chain."""
    if cursor is not None and after is not None:
        raise BadRequestError("cursor and after exclude each other", element="audit")
    found, following = await in_thread(_scan, services(request), parse_where(where), limit, cursor, after)
    return listed("AuditList", [strict_json.dumps(audit.as_dict(row)) for row in found], following=following)


def _scan(
    parts: Services, where: Where, limit: int, cursor: int | None, after: int | None
) -> tuple[list[AuditRow], str | None]:
    out: list[AuditRow] = []
    at = after if after is not None else (MAX_INTEGER if cursor is None else cursor)
    for _ in range(MOST_SCANNED // SCAN):
        part = parts.store.audit_after(at, SCAN) if after is not None else parts.store.audit_before(at, SCAN)
        for row in part:
            at = row.seq
            if where.holds(lambda field, row=row: _fields(row, field)):  # type: ignore[misc]
                out.append(row)
                if len(out) == limit:
                    return out, str(at)
        if len(part) < SCAN:
            return out, None
    return out, str(at)


def _fields(row: AuditRow, field: str) -> Iterable[Value]:
    match field:
        case "name" | "element":
            return (row.entry.element,)
        case "who" | "action" | "origin" | "why" | "at":
            value: Value = getattr(row.entry, field)
            return (value,)
        case "seq":
            return (row.seq,)
        case _:
            value = row.entry.detail.get(field, "")
            return (value,) if isinstance(value, str | int | float) and value != "" else ()


@router.get("/v1/audit/heads", responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}})
async def heads(request: Request) -> Response:
    """Signed heads, one DSSE envelope a line: hashes that rows had at those times."""
    return Response(await in_thread(services(request).audit_heads), media_type="application/jsonl")
