"""Telling that a service is not ready, and that it is ready again: seldom, however often it changes.

Rules:
* Not being ready is told at most once in `QUIET_S` for each service; what changed in between is told with the next.
* Being ready is told only after not being ready was, so there are at most two events of a service in that time.
* One that is not ready when the time is over is told then: the last event is never wrong for longer than that.
* Durable: a keeper that is killed in between tells nothing twice, and does not forget what it owes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from edge_daemon.keeper.journal import Journal
from edge_daemon.slots import shown

KEY = "unready"
MOST_WORDS = 300
QUIET_S = 600.0
UNREADY, READY = "unready", "ready"


class Told(NamedTuple):
    """What was said of one service."""

    unready: bool = False  # the last event says that it is not ready
    at: float | None = None  # CLOCK_BOOTTIME of the last event that did
    is_ready: bool = True  # as it was seen last
    untold: int = 0  # times that it became not ready since, and nobody was told


def after(told: Told, *, ready: bool, now: float) -> tuple[Told, str]:
    """What is known after one more look, and the event that is due: `UNREADY`, `READY` or ""."""
    if ready:
        found = told._replace(is_ready=True)
        return (found._replace(unready=False), READY) if told.unready else (found, "")
    found = told._replace(is_ready=False)
    if told.unready:
        return found, ""
    if told.at is not None and told.at <= now < told.at + QUIET_S:  # one of later than now is of an earlier boot
        return found._replace(untold=told.untold + int(told.is_ready)), ""
    return Told(unready=True, at=now, is_ready=False), UNREADY


class Unready:
    """All services of this host that have a readiness of their own."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        kept: dict[str, float] = json.loads(journal.db.get(KEY) or "{}")
        self._known = {name: Told(unready=at >= 0, at=abs(at), is_ready=at < 0) for name, at in kept.items()}

    def look(self, app: str, unready: Mapping[str, str], ready: Collection[str], now: float) -> None:
        """`unready`: service -> why. Those in neither have no opinion, and nothing is said of them."""
        for service in sorted({*unready, *ready}):
            name = f"{app}/{shown(service)}"
            before = self._known.get(name, Told())
            found, event = after(before, ready=service in ready, now=now)
            if event:
                self._tell(event, app, service, unready.get(service, ""), before, {**self._known, name: found})
            elif found != before:
                self._known[name] = found

    def forget(self, app: str) -> None:
        """The app left this host."""
        kept = {name: told for name, told in self._known.items() if name.partition("/")[0] != app}
        if kept != self._known:
            self._keep(kept)
            self._known = kept

    def _tell(self, event: str, app: str, service: str, why: str, before: Told, known: dict[str, Told]) -> None:
        more = f"; so it was {before.untold} more times since that was last told" if before.untold else ""
        text = f"is not ready: {why[:MOST_WORDS]}{more}" if event == UNREADY else "is ready again"
        with self._journal.db.transaction():
            self._keep(known)
            self._journal.say(
                f"probe.{event}",
                f"{app}/{shown(service)} {text}",
                severity="warn" if event == UNREADY else "info", app=app, service=service,
            )  # fmt: skip
        self._known = known

    def _keep(self, known: dict[str, Told]) -> None:
        """When it was told last; negative for one that is ready again."""
        times = {name: told.at if told.unready else -told.at for name, told in known.items() if told.at is not None}
        self._journal.db.put(KEY, json.dumps(times) if times else None)
