"""When the reported state is published, and from what it is put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edge_daemon.keeper import report
from edge_daemon.keeper.clock import wall
from edge_daemon.keeper.loop import Supervisor
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.records import Records
from edge_daemon.keeper.sampler import Sampler
from edge_daemon.sealed import Index

AT_MOST_EVERY_S = 1.0
EVERY_S = 60


class Source(Protocol):
    """What the report says besides the apps."""

    @property
    def index(self) -> Index | None:
        """What was accepted last."""

    def headline(self) -> dict[str, Any]:
        """Who and what this device is, just now."""

    @property
    def refusal(self) -> dict[str, Any] | None:
        """Of the newest document, until another is accepted."""


class Reporter:
    """Builds reports; publishes what is new at most once a second, and everything every `report_every_s`."""

    def __init__(self, source: Source, machine: Machine, supervisor: Supervisor, records: Records) -> None:
        self._source = source
        self._runtime = machine.runtime
        self._sampler = Sampler(machine.runtime)
        self._supervisor = supervisor
        self._records = records
        self._dirty = True
        self._steady = b""  # of the last report: what is new when it changes
        self._due = 0.0
        self._earliest = 0.0

    def changed(self) -> None:
        """Something may have changed."""
        self._dirty = True

    def anew(self) -> None:
        """Nobody may have heard the last report: say everything again."""
        self._dirty = True
        self._steady = b""
        self._due = 0.0

    def step(self, now: float, publish: Callable[[bytes], bool]) -> float:
        """Publish if it is time. When to look again."""
        due = max(0.0 if self._dirty else self._due, self._earliest)
        if now < due:
            return due
        self._dirty = False
        settings = self._source.index["settings"] if self._source.index else {}
        often = min(settings.get("sample_every_s", EVERY_S), settings.get("report_every_s", EVERY_S))
        built = self.build(now, sampled_every=often)
        steady = report.steady_part(built)
        if steady == self._steady and now < self._due:
            return self._due
        if not publish(report.within_bounds(built)):
            self._dirty, self._earliest = True, now + AT_MOST_EVERY_S
            return self._earliest
        every = settings.get("report_every_s", EVERY_S)
        self._steady, self._earliest, self._due = steady, now + AT_MOST_EVERY_S, now + every
        return self._due

    def read_at(self, app: str, service: str) -> dict[str, float]:
        """When the sample of a container that the last `build` used was taken, on CLOCK_BOOTTIME, for rates."""
        at = self._sampler.read_at(app, self._supervisor.unit(app, service))
        return {} if at is None else {"sampled_boottime": at}

    def build(self, now: float, *, sampled_every: float = AT_MOST_EVERY_S) -> dict[str, Any]:
        """The report as fleet_protocol.documents.device.Reported has it, with samples that are no older than that."""
        self._sampler.keep({(a, s) for a, view in self._supervisor.views.items() for s in view.seen})
        index, refusal = self._source.index, self._source.refusal
        out = self._source.headline()
        out |= {
            "schema": "roadstead/reported/v1",
            "at": wall(),
            "running_generation": index["generation"] if index else 0,
            "apps": [self._app(app, now, sampled_every) for app in sorted(self._supervisor.plans)],
        }
        return out | ({"refusal": refusal} if refusal is not None else {}) | accepted(index)

    def _app(self, app: str, now: float, often: float) -> dict[str, Any]:
        view, plan = self._supervisor.views.get(app), self._supervisor.plans[app]
        if view is None or (view.plan.revision, view.plan.desired_release) != (plan.revision, plan.desired_release):
            # What was seen belongs to an earlier generation: nobody may take it for the word on this one.
            why = "not looked at yet"
            return {"app": app, "state": "updating", "why": why, "desired_release": plan.desired_release}
        revision = view.plan.revision or ""
        readings = {
            name: self._sampler.read(seen, now, wall(), at_most_every=often)
            for name, seen in view.seen.items()
            if seen.pid is not None
        }
        rows = {unit.name: self._records.service(app, unit.name, revision) for unit in view.plan.units}
        out = report.reported_app(view, self._records.app(app), rows, readings, now)
        if view.plan.sealed is not None and "total" in view.plan.sealed and readings:
            out["limits"] = report.known(self._runtime.total(app))
        return out


def accepted(index: Index | None) -> dict[str, object]:
    """The two words in which device and server compare where they are."""
    return {"generation": index["generation"], "sha256": index["sha256"]} if index else {}
