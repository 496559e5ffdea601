"""A host in memory for the real supervisor: containers are rows, children end at once, time is a number.

What a container does stands in its release: `good` runs, `crash` ends after half a second, `oom` is killed for memory
after a second, `panic` takes the host down, `hang` fails its probe, `unready` its readiness, `leak` takes more and more
memory. Every start and stop is checked against what must never happen.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from edge_daemon.keeper import loop
from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import TICKS_PER_SECOND
from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.ports import Runtime, Seen, Usage
from edge_daemon.keeper.reactor import Reactor
from edge_daemon.keeper.records import Records
from edge_daemon.keeper.sealed_state import read_index
from edge_daemon.layout import Layout
from edge_daemon.sealed import Index

SEAL = runpy.run_path(str(Path(__file__).parent / "simulators" / "standin_prepare.py"))["seal"]
WINDOW_S = 10
SLOPE = 1000  # percent of the limit per hour
ASKED = {"exec_args": ["ask"], "every_s": 1, "timeout_s": 1, "start_period_s": 0, "failures": 2, "healthy_for_s": 0}
WEB = {"name": "web", "probe": ASKED, "readiness": ASKED}
LIVES = {"crash": 0.5, "oom": 1.0}


class SmallWorld:
    """Host, keeper.db and keeper. `advance` lets time pass."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder / "state", folder / "run")
        self.layout.state.mkdir()
        self.db = KeeperDb(self.layout.keeper_db)
        self.outbox = Outbox(self.db)
        self.now, self.boots, self.generation = 5.0, 0, 0
        self.index: Index | None = None
        self.containers: dict[str, Seen] = {}
        self.behaviour: dict[str, str] = {}  # revision -> what it does
        self.starts: list[tuple[str, str]] = []  # (app, release)
        self.down = False
        self.measures = True  # the kernel counts memory
        self.withdrawn: dict[str, dict[str, str]] = {}
        self.ended: list[Callable[[int], None]] = []  # children that have done their work
        self.restart()

    # -- what happens to the host

    def deliver(self, releases: dict[str, str], **more: Any) -> None:
        """A generation with these releases, named like `1-crash`; `more`: of every app."""
        self.generation += 1
        apps = {
            app: {"release": release, "services": [dict(WEB)], "health_window_s": WINDOW_S} | more
            for app, release in releases.items()
        }
        document = {"generation": self.generation, "apps": apps}
        SEAL(self.layout.state, document, f"{self.generation:064x}")
        self.index = read_index(self.layout, self.generation)
        for entry in self.index["apps"].values():
            self.behaviour[entry["revision"]] = entry["release"].partition("-")[2]
        self.keeper.want(self.index, self.withdrawn)

    def withdraw(self, **releases: str) -> None:
        """From now on exactly these are withdrawn: app -> release."""
        self.withdrawn = {app: {release: "leaks"} for app, release in releases.items()}
        assert self.index is not None
        self.keeper.want(self.index, self.withdrawn)

    def restart(self) -> None:
        """The daemon is killed and started: what it kept in memory is gone."""
        self.ended.clear()
        records = Records(self.db)
        journal = Journal(self.db, self.outbox, records, f"boot-{self.boots}", lambda: int(self.now))
        self.records = records
        self.keeper = loop.Supervisor(
            self.layout, cast("Machine", self), journal, cast("Reactor", self), cast("Children", self),
            boot=f"boot-{self.boots}", chance=lambda: 0.5, changed=lambda: None,
        )  # fmt: skip
        if self.index is not None:
            self.keeper.want(self.index, self.withdrawn)

    def reboot(self) -> None:
        """Power is lost and comes back."""
        self.boots += 1
        self.now, self.down = 5.0, False
        self.containers.clear()
        self.restart()

    def advance(self, seconds: float) -> None:
        """Let the keeper do what it wants to for so long."""
        left = seconds
        while left > 0:
            due = self.keeper.step(self.now)
            if self.down:
                self.reboot()
                left -= 5.0
                continue
            while self.ended:
                self.ended.pop()(0)
                due = 0.0
            ends = [one.started_at for one in self.containers.values() if one.pid is not None and one.started_at]
            step = min(max(0.01, min([due, *ends]) - self.now), left)
            self.now, left = self.now + step, left - step
            for key, one in self.containers.items():
                if one.pid is not None and one.started_at is not None and one.started_at <= self.now:
                    oom = self.behaviour.get(one.revision) == "oom"
                    self.containers[key] = one._replace(pid=None, exit_code=137 if oom else 1, oom_killed=oom)

    def runs(self, app: str) -> str:
        """The release that runs."""
        one = self.containers.get(app)
        return self._release(app, one.revision) if one is not None and one.pid is not None else ""

    def events(self) -> list[str]:
        """Kinds and apps, in order."""
        return [f"{event.kind} {event.app}" for event in self.outbox.recent(10_000)]

    def stray(self, app: str) -> None:
        """A container is there that nobody here remembers."""
        self.containers[app] = Seen(app, "web", "f" * 64, 999, 1e9, 100, None, None, oom_killed=False)

    # -- as Machine, Runtime, Reactor and Children

    @property
    def runtime(self) -> Runtime:
        return cast("Runtime", self)

    def seen(self) -> list[Seen]:
        return [one._replace(started_at=1.0) for one in self.containers.values()]

    def usage(self, app: str, _service: str) -> Usage:
        one, held = self.containers.get(app), None
        if one is not None and self.measures:
            kind, age = self.behaviour.get(one.revision, ""), self.now - (one.start_ticks or 0) / TICKS_PER_SECOND
            held = int(1e6 + age * 1e5 if kind == "leak" else 1e6)
        return Usage(None, None, None, None, None, None, memory_anon_bytes=held)

    def end_handle(self, _app: str, _service: str) -> None:
        return None

    def signal(self, app: str, _service: str, _name: str) -> None:
        one, told = self.containers[app], self.events()
        assert self.index is not None
        if one.revision == self.keeper.plans[app].revision:
            assert f"probe.failed {app}" in told, f"{app} is stopped although it is wanted, and nothing says why"
        elif one.revision == self.index["apps"][app]["revision"] and not self.keeper.trials.withdrawn.get(app):
            assert f"app.quarantined {app}" in told, f"{app} is stopped although it is desired, and nothing says why"
        self.containers[app] = one._replace(pid=None, exit_code=0)

    def start(self, app: str, _service: str, revision: str, _seal: str, _log_bytes: int) -> list[str]:
        assert self.records.quarantined(app, revision) is None, f"{app} {revision} is quarantined and started"
        assert app not in self.containers, f"two containers of {app}"
        kind = self.behaviour[revision]
        self.starts.append((app, self._release(app, revision)))
        self.down |= kind == "panic"
        # started_at carries the moment of its end; the keeper is shown another
        self.containers[app] = Seen(
            app, "web", revision, 1000 + len(self.starts), self.now + LIVES.get(kind, 1e9),
            int(self.now * TICKS_PER_SECOND), None, None, oom_killed=False,
        )  # fmt: skip
        return ["started"]

    def retune(self, app: str, _service: str, revision: str, _seal: str) -> list[str]:
        assert self.records.quarantined(app, revision) is None
        self.down |= self.behaviour[revision] == "panic"
        life = LIVES.get(self.behaviour[revision], 1e9)
        self.containers[app] = self.containers[app]._replace(revision=revision, started_at=self.now + life)
        self.starts.append((app, self._release(app, revision)))
        return ["retuned"]

    def remove(self, app: str, _service: str) -> list[str]:
        self.containers.pop(app, None)
        return ["removed"]

    def probe(self, app: str, _service: str, revision: str, _seal: str, kind: str) -> list[str]:
        bad = {"hang": "probe", "unready": "readiness"}.get(self.behaviour.get(revision, ""), "")
        assert self.containers[app].revision == revision
        return ["probe", json.dumps({"status": int(kind == bad), "said": ""})]

    def prune(self, _apps: set[str]) -> list[str]:
        return ["pruned"]

    def spawn(
        self, command: list[str], heard: Callable[[bytes], None], ended: Callable[[int], None], **_: object
    ) -> None:
        heard(f'{{"{command[0]}": {command[1] if command[0] == "probe" else "true"}}}'.encode())
        self.ended.append(ended)

    def watch(self, *_: object) -> None:
        raise NotImplementedError

    def _release(self, app: str, revision: str) -> str:
        sealed = json.loads((self.layout.revision(app, revision) / "revision.json").read_bytes())
        return str(sealed["release"])
