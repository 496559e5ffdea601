"""Rollouts over a real store: devices that report as hosts do, and a clock in the test's hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server_support import NOW, a_fleet, change, enrol, release_facts

from fleet_protocol.documents.desired import DesiredState
from fleet_protocol.documents.fleet import Applied, FleetSpec, Plan
from fleet_protocol.documents.rollout import RolloutView
from fleet_protocol.trust.keys import FileSigner, generate_ed25519
from fleet_server.controller import views
from fleet_server.controller.controller import Controller
from fleet_server.controller.desk import Desk, asked_of
from fleet_server.director import Director
from fleet_server.store.api import Store
from fleet_server.store.records import Contact, Ingested, Mark, ReportedRow
from fleet_server.store.sqlite import open_store

VERSIONS = ("1.8.2", "1.9.0", "2.0.0")
CONFIG = {"SITE": {"service": "web", "env": "SITE", "pattern": "[a-z0-9-]{0,32}"}}


class Field:
    """A server without a network, and its devices."""

    def __init__(self, folder: Path, *devices: str, labels: Mapping[str, str] | None = None) -> None:
        self.folder, self.now = folder, NOW
        if not (folder / "director.key").exists():
            generate_ed25519(folder / "director.key")
        self.releases = {
            (app, version): release_facts(app, version, counter, config=CONFIG)
            for app in ("cam", "gw")
            for counter, version in enumerate(VERSIONS, 1)
        }
        self.changed: list[str] = []
        self.open()
        for number, name in enumerate(devices):
            enrol(self.store, name, fingerprint=f"{number:064x}", labels=labels or {"site": "lab"})
            self.says(name)

    def open(self) -> None:
        """What a start of the server does; the one before may have been killed."""
        self.store: Store = open_store(self.folder / "server.db")
        self.director = Director(
            self.store, FileSigner(self.folder / "director.key"), lambda: self.releases, self.changed.extend
        )
        self.controller = Controller(self.store, self.director, lambda: self.releases)
        self.desk = Desk(self.controller)

    def restart(self) -> None:
        self.store.close()
        self.open()

    # --- people

    def plan(self, *fleets: FleetSpec, remove: tuple[str, ...] = ()) -> Plan:
        with self.store.only_reading():
            return self.desk.plan(change(*fleets, remove=remove), self.now)

    def apply(self, *fleets: FleetSpec, start: bool = True) -> Applied:
        return self.desk.apply(self.plan(*fleets), "ops", self.now, start=start)

    def fleet(self, version: str = "1.9.0", name: str = "lab", **over: Any) -> FleetSpec:
        return a_fleet(name, f"cam@{version}", **over)

    def ask(self, rollout_id: str, act: str, **said: str) -> None:
        self.desk.ask(rollout_id, asked_of(act, "ops", said), self.now)

    def view(self, rollout_id: str) -> RolloutView:
        return views.rollout_view(self.desk, rollout_id, self.now)

    # --- time and devices

    def later(self, seconds: int = 0) -> None:
        """Time passes, and the loop looks."""
        self.now += seconds
        for _ in range(3):
            self.desk.expire_pins(self.now)
            self.controller.tick(self.now)

    def told(self, name: str) -> DesiredState | None:
        row = self.store.desired(name)
        return DesiredState.parse(row.payload) if row else None

    def release(self, name: str, app: str = "cam") -> str:
        """What it was told to run; "" for nothing."""
        told = self.told(name)
        return next((a.release for a in told.apps if a.app == app), "") if told else ""

    def says(self, name: str, verdict: str = "good", *, runs: str | None = None, **over: Any) -> None:
        """A report in step with what the device was told. `runs`: of cam, where it went back to that."""
        row, told = self.store.desired(name), self.told(name)
        step = {"generation": row.generation, "sha256": row.sha256} if row else {}
        apps = []
        for app in told.apps if told else ():
            release = runs if runs is not None and app.app == "cam" else app.release
            said = {"state": verdict, "reason": over.get("reason", ""), "code": over.get("code", "")}
            words = {"good": "ok", "trial": "updating", "held": "held"}.get(verdict, "failed")
            apps.append(
                {"app": app.app, "state": words, "release": release or None, "desired_release": app.release,
                 "verdict": said, "why": over.get("reason", "")}
            )  # fmt: skip
        value = {"device_id": name, "boot_id": "b", "at": self.now, "apps": apps, **step, **over.get("report", {})}
        mark = Mark(step.get("generation", 0), step.get("sha256")) if row else Mark()
        self.hear(name, Contact(name, self.now, online=True, said=mark), json.dumps(value).encode())

    def gone(self, name: str) -> None:
        self.hear(name, Contact(name, None, online=False))

    def hear(self, name: str, contact: Contact, document: bytes | None = None) -> None:
        rows = (ReportedRow(name, self.now, document),) if document else ()
        self.store.ingest(Ingested(self.now, (contact,), rows))
        self.controller.heard([name])

    def all_say(self, *names: str, verdict: str = "good") -> None:
        for name in names:
            self.says(name, verdict)
        self.later()
