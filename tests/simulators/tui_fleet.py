"""`python tui_fleet.py DEVICES CHANGES_PER_S MARKS`: the real terminal UI on a fleet made up here.

The network and the server are left out: what is measured is the program between its source and the terminal. MARKS is a
file that gets the monotonic time at which all devices had been read.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

from tui.model.actions import Act
from tui.model.rows import DeviceRow
from tui.model.world import Batch, Remembered
from tui.source.api import Wants
from tui.term.app import FleetApp
from tui.term.sheet import Look
from tui.term.shell import Server
from tui.term.skins import SKINS

STATES = ("ok",) * 60 + ("degraded", "failed", "updating", "quiet")
EVERY_S = 0.5


def a_row(number: int, chance: random.Random) -> DeviceRow:
    state = chance.choice(STATES)
    site = f"site-{number % 100:02d}"
    return DeviceRow(
        name=f"cam-{site}-{number:05d}", state=state,
        why="" if state == "ok" else f"disk {chance.randint(90, 99)} % full",
        runs="gw 1.9.0, mqtt 2.0", site=site, labels=f"role=camera,site={site}", fleets="cam-eu",
        memory=chance.randint(10, 64) << 20, memory_limit=64 << 20, seen=int(time.time()), online=True, generation=4,
        desired=4,
    )  # fmt: skip


class Fleet:
    """A source: all devices first, then so many changes a second over all of them."""

    def __init__(self, count: int, rate: int, marks: Path) -> None:
        self._chance = random.Random(1)  # noqa: S311 - the same fleet each time
        self._rows: list[DeviceRow] | None = [a_row(n, self._chance) for n in range(count)]
        self._count, self._rate, self._marks = count, rate, marks

    def read(self, wants: Wants) -> Batch:  # noqa: ARG002
        if self._rows is not None:
            rows, self._rows = tuple(self._rows), None
            self._marks.write_text(str(time.monotonic()))
            return Batch(devices=rows, fleets=(), enrolments=(), rollouts=(), events=())
        picked = self._chance.sample(range(self._count), int(self._rate * EVERY_S)) if self._rate else []
        return Batch(changed=tuple(a_row(n, self._chance) for n in picked))

    def do(self, act: Act, target: str, reason: str) -> str:
        raise NotImplementedError

    def pause_s(self) -> float:
        return EVERY_S

    def close(self) -> None:
        return


class Alone:
    """No contexts but one, nothing remembered."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def contexts(self) -> list[dict[str, Any]]:
        return [{"name": self._server.name, "server": self._server.address, "environment": ""}]

    def server(self, name: str) -> Server:  # noqa: ARG002
        return self._server

    def remembered(self, context: str) -> Remembered:  # noqa: ARG002
        return Remembered()

    def remember(self, context: str, what: Remembered) -> None:  # noqa: ARG002
        return

    def now(self) -> float:
        return time.time()


def main() -> None:
    count, rate, marks = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    source = Fleet(count, rate, marks)
    server = Server("bench", "", "https://bench:8443", lambda: source)
    FleetApp(Alone(server), server, Look(SKINS["dark"])).run()


if __name__ == "__main__":
    main()
