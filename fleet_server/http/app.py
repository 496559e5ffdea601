"""The HTTP application: routes, errors, and what lives as long as it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from fleet_protocol.documents.api import Problem
from fleet_server.errors import SetupError
from fleet_server.http import (
    access,
    api_token_routes,
    audit_routes,
    device_routes,
    enrolment_routes,
    image_routes,
    list_routes,
    meta_routes,
    operator_routes,
    rollout_routes,
    stream_routes,
    trust_routes,
)
from fleet_server.http.answers import PROBLEM, install_errors
from fleet_server.http.gate import FleetRoute
from fleet_server.http.stream import Streams
from fleet_server.services import Services
from fleet_server.version import VERSION

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router
    for module in (
        meta_routes, device_routes, list_routes, stream_routes, operator_routes, rollout_routes, enrolment_routes,
        api_token_routes, audit_routes, trust_routes, image_routes,
    )
)  # fmt: skip


def make_app(services: Services, lifespan: Lifespan | None = None, routers: tuple[APIRouter, ...] = ROUTERS) -> FastAPI:
    """All routes of docs/api.md and docs/wire.md over `services`. Raises SetupError for a route that nobody guards."""
    check(routers)
    app = FastAPI(
        title="Roadstead",
        version=VERSION,
        lifespan=lifespan,
        openapi_url=None,  # a route of our own answers, behind the same door
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={
            "default": {"description": "An error", "content": {PROBLEM: {"schema": Problem.model_json_schema()}}}
        },
    )
    app.state.services = services
    app.state.streams = Streams(services.board, services.clock) if hasattr(services, "board") else None
    for router in routers:
        app.include_router(router)
    install_errors(app)
    return app


def routes_of(routers: tuple[APIRouter, ...]) -> set[tuple[str, str]]:
    """Method and path of every route; HEAD is as GET. Raises SetupError for one that is not behind the door."""
    out: set[tuple[str, str]] = set()
    for router in routers:
        for route in router.routes:
            if not isinstance(route, FleetRoute):
                raise SetupError("the route is not behind the door", element=str(getattr(route, "path", route)))
            out |= {("GET" if method == "HEAD" else method, route.path) for method in route.methods or ()}
    return out


def check(routers: tuple[APIRouter, ...]) -> None:
    """Raises SetupError unless every route has its line in the table of `access`, and each line its route."""
    wrong = access.faults(routes_of(routers))
    if wrong:
        raise SetupError(f"{wrong[0]} in the table of who may use what", element="routes")
