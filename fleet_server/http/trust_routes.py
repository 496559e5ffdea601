"""TUF metadata and targets: read by devices and operators, written by operators who hold off-line keys."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from fleet_protocol.documents.fleet import RoleVersion
from fleet_protocol.wire.bounds import MAX_RELEASE_BYTES, MAX_TUF_METADATA_BYTES
from fleet_server.errors import BadRequestError, NotFoundError
from fleet_server.http.answers import JSON, answer, body, in_thread, services
from fleet_server.http.gate import Asker, FleetRoute
from fleet_server.services import Services
from fleet_server.withdrawals import concerned

router = APIRouter(tags=["trust"], route_class=FleetRoute)


@router.get("/tuf/metadata/{name:path}.json")
async def metadata(request: Request, name: str) -> Response:
    """Metadata by the name that a TUF client asks for."""
    return _found(await in_thread(services(request).repository.load, name), f"metadata {name}")


@router.get("/tuf/targets/{path:path}")
async def target(request: Request, path: str) -> Response:
    """A target by its path with the hash prefix."""
    return _found(await in_thread(services(request).repository.target, path), f"target {path}")


@router.put("/v1/tuf/metadata/{role:path}", responses={200: {"model": RoleVersion}})
async def put_metadata(request: Request, role: str, caller: Asker) -> Response:
    """A new version of a role, if `If-Match` names the one that it replaces."""
    replaces = request.headers.get("if-match", "").strip('"')
    if not replaces.isdecimal() or len(replaces) > 16:
        raise BadRequestError("If-Match wants the version that this one replaces, 0 for none", element=role[:60])
    data = await body(request, MAX_TUF_METADATA_BYTES)
    return answer(await in_thread(_put_metadata, services(request), role, data, int(replaces), caller.name))


def _put_metadata(parts: Services, role: str, data: bytes, replaces: int, who: str) -> RoleVersion:
    done = parts.repository.put_role(role, data, replaces, datetime.fromtimestamp(parts.clock(), UTC))
    parts.record(who, "put metadata", role, version=done.version)
    if names := concerned(role, data, parts.store.desired_rows().values(), parts.store.reported_rows().values()):
        parts.ask(names)
    return done


@router.put("/v1/tuf/targets/{sha256}", status_code=204)
async def put_target(request: Request, sha256: str, caller: Asker) -> Response:
    """Target bytes, before the role that lists them."""
    data = await body(request, MAX_RELEASE_BYTES)
    parts = services(request)
    await in_thread(parts.repository.put_target, sha256, data)
    await in_thread(parts.record, caller.name, "put target", sha256, bytes=len(data))
    return Response(status_code=204)


def _found(data: bytes | None, element: str) -> Response:
    if data is None:
        raise NotFoundError("there is no such file", element=element[:200])
    return Response(data, media_type=JSON)
