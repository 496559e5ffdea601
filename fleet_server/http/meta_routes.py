"""The server about itself: whether it answers, who is asking, what there is."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fleet_protocol.documents.api import Health, WhoAmI
from fleet_protocol.documents.fleet import OnlineKeys
from fleet_protocol.wire import strict_json
from fleet_server.errors import NotAllowedError
from fleet_server.http.answers import JSON, PARTS, answer, in_thread, said, services
from fleet_server.http.gate import Asker, FleetRoute
from fleet_server.version import VERSION

router = APIRouter(tags=["server"], route_class=FleetRoute)


@router.get("/healthz", responses={200: {"model": Health}})
async def healthz() -> Response:
    """Whether the server answers."""
    return answer(Health(version=VERSION))


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """All routes, for a machine."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        told = await in_thread(request.app.openapi)
        components = told.setdefault("components", {}).setdefault("schemas", {})
        state.openapi = strict_json.dumps({**told, "components": {"schemas": {**PARTS, **components}}})
    return Response(state.openapi, media_type=JSON)


@router.get("/v1/whoami", responses={200: {"model": WhoAmI}})
async def whoami(caller: Asker) -> Response:
    """The token's own role and scope."""
    if caller.role is None:
        raise NotAllowedError("only an operator may ask for this")
    return answer(WhoAmI(name=caller.name, role=caller.role, scope=dict(caller.scope), server_version=VERSION))


@router.get("/v1/status")
async def status(request: Request) -> Response:
    """How the server itself is: broker, counters."""
    return said(await in_thread(services(request).status))


@router.get("/v1/online-keys", responses={200: {"model": OnlineKeys}})
async def online_keys(request: Request) -> Response:
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
