"""What a server does by the clock. Each duty fails on its own, is said, and comes round again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet_protocol.wire.errors import RoadsteadError
from fleet_server import audit_heads
from fleet_server.build import Server
from fleet_server.http.answers import in_thread

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KEEP_EVENTS_S = 90 * 86400
KEEP_EVENTS_PER_DEVICE = 5000

log = logging.getLogger("roadstead.housekeeping")


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do at start and then at intervals."""

    name: str
    every_s: float
    do: Callable[[], object]


def duties(server: Server) -> list[Duty]:
    """All of them."""
    parts, layout = server.services, server.layout

    def refresh() -> object:
        return parts.repository.refresh_timestamp(datetime.fromtimestamp(parts.clock(), UTC))

    def head() -> object:
        return audit_heads.write_head(layout.audit_heads, parts.store, parts.keys.director, parts.now())

    def prune() -> object:
        return parts.store.prune_events(parts.now() - KEEP_EVENTS_S, KEEP_EVENTS_PER_DEVICE)

    return [
        Duty("broker files", DAY, server.feed.check),
        Duty("timestamp", HOUR, refresh),
        Duty("renewing desired states", HOUR, lambda: parts.director.renew(parts.now())),
        Duty("audit head", HOUR, head),
        Duty("pruning events", DAY, prune),
    ]


async def keep_house(server: Server) -> None:
    """Runs until cancelled."""
    async with asyncio.TaskGroup() as group:
        for duty in duties(server):
            group.create_task(_repeat(duty))


async def _repeat(duty: Duty) -> None:
    while True:
        try:
            await in_thread(duty.do)
            wait = duty.every_s
        except (RoadsteadError, OSError) as error:
            log.error("%s: %s", duty.name, error)  # noqa: TRY400 (the sentence says it all)
            wait = MINUTE
        except Exception:  # one duty's defect must not end the others
            log.exception("%s failed", duty.name)
            wait = HOUR
        await asyncio.sleep(wait)
