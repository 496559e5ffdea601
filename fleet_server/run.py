"""`fleet-server run`: HTTPS, the broker link and the duties of the clock, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI

from fleet_protocol.wire.errors import Exit
from fleet_server.build import Server, build
from fleet_server.config import Layout
from fleet_server.controller.loop import RolloutLoop
from fleet_server.errors import SetupError
from fleet_server.housekeeping import keep_house
from fleet_server.http.answers import in_thread
from fleet_server.http.app import make_app
from fleet_server.init import make_tls, tls_serves
from provisioning.authority.ca import DeviceCa

BACKLOG = 2048
GRACE_S = 10

log = logging.getLogger("roadstead.server")


def run(layout: Layout, descriptors: Sequence[int]) -> int:
    """Serve until SIGTERM or SIGINT. Raises RoadsteadError, OSError for what hinders the start."""
    server = build(layout)
    if not tls_serves(layout, server.config, server.services.now()):
        make_tls(layout, server.config, DeviceCa.load(layout.ca), server.services.now())
        log.info("made a new HTTPS certificate")
    sockets = [_listen(server), *(socket.socket(fileno=number) for number in descriptors)]
    for listening in sockets:
        listening.listen(BACKLOG)  # from here on nobody is turned away, however long the rest of the start takes
    # uvicorn raises the signals that it caught once more when it is done; for us that is the good end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    app = make_app(server.services, lambda app: _life(server, app))
    config = uvicorn.Config(
        app,
        ssl_certfile=str(layout.tls / "server.pem"),
        ssl_keyfile=str(layout.tls / "server.key"),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
        limit_concurrency=4096,
        h11_max_incomplete_event_size=64 * 1024,
    )
    where = ", ".join("%s:%s" % s.getsockname()[:2] for s in sockets)  # noqa: UP031 (a slice of an address)
    log.info("serving %s on %s", server.config.url, where)
    web = uvicorn.Server(config)
    app.state.streams.closing = lambda: web.should_exit
    asyncio.run(web.serve(sockets=sockets))
    return Exit.OK if web.started else Exit.OTHER


def _listen(server: Server) -> socket.socket:
    host, port = server.config.listen_host, server.config.listen_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SetupError(f"cannot listen: {error.strerror}", element=f"{host}:{port}") from error
    return listening


@asynccontextmanager
async def _life(server: Server, _app: FastAPI) -> AsyncIterator[None]:
    """Everything beside HTTP lives exactly as long as it."""
    parts = server.services
    rollouts = RolloutLoop(parts.rollouts, parts.desk_of_rollouts, parts.clock)
    rollouts.start()
    server.link.start()
    house = asyncio.create_task(keep_house(server), name="housekeeping")
    try:
        yield
    finally:
        house.cancel()
        with suppress(asyncio.CancelledError):
            await house
        await in_thread(server.link.stop)
        await in_thread(rollouts.stop)
        await in_thread(server.services.store.close)
        log.info("stopped")
