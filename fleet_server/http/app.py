"""The HTTP application: routes, errors, and what lives as long as it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from fleet_server.http import device_routes, image_routes, operator_routes, trust_routes
from fleet_server.http.answers import install_errors
from fleet_server.services import Services
from fleet_server.version import VERSION

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_app(services: Services, lifespan: Lifespan | None = None) -> FastAPI:
    """All routes of docs/wire.md over `services`."""
    app = FastAPI(
        title="Roadstead", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.services = services
    for module in (device_routes, operator_routes, trust_routes, image_routes):
        app.include_router(module.router)
    install_errors(app)
    return app
