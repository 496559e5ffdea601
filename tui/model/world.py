"""Everything that the screens show, as last heard. Pure: batches go in, what is to be painted again comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tui.model.causes import Cause, causes
from tui.model.link import Link
from tui.model.rollouts import Rollout
from tui.model.roster import NOTHING, Changes, Roster
from tui.model.rows import DeviceRow, Enrolment, Fleet, Happening

DETAILS = 8


class Batch(NamedTuple):
    """What one reading of the server brought; None: that was not asked."""

    devices: tuple[DeviceRow, ...] | None = None  # all of them
    changed: tuple[DeviceRow, ...] = ()  # or those that differ
    gone: tuple[str, ...] = ()
    fleets: tuple[Fleet, ...] | None = None
    enrolments: tuple[Enrolment, ...] | None = None
    events: tuple[Happening, ...] | None = None
    rollouts: tuple[Rollout, ...] | None = None
    details: Mapping[str, Any] | None = None  # of one device: its DeviceView
    who: tuple[str, str] | None = None  # name, role


class Remembered(NamedTuple):
    """What the last session saw, shown greyed until this one has data."""

    at: int = 0
    counts: Mapping[str, int] = {}


@dataclass
class World:
    """One server's fleet."""

    context: str = ""
    environment: str = ""
    server: str = ""
    now: float = 0.0
    link: Link = field(default_factory=Link)
    who: tuple[str, str] = ("", "")
    roster: Roster = field(default_factory=Roster)
    loaded: bool = False
    fleets: tuple[Fleet, ...] | None = None
    enrolments: tuple[Enrolment, ...] | None = None
    events: tuple[Happening, ...] | None = None
    rollouts: tuple[Rollout, ...] | None = None
    details: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)  # devices
    picked: set[str] = field(default_factory=set)  # requests for enrolment
    remembered: Remembered = field(default_factory=Remembered)
    _causes: tuple[int, list[Cause]] = (-1, [])
    _tally: tuple[int, dict[str, tuple[int, int]]] = (-1, {})

    def take(self, batch: Batch) -> Changes:
        """Put it in; says what of the list of devices changed. Other parts are small and painted whole."""
        changes = NOTHING
        if batch.devices is not None:
            changes = self.roster.replace(batch.devices)
            self.loaded = True
        if batch.changed or batch.gone:
            more = self.roster.apply(batch.changed, batch.gone)
            changes = Changes(changes.rows | more.rows, changes.layout or more.layout)
        for name in ("fleets", "enrolments", "events", "rollouts", "who"):
            if (value := getattr(batch, name)) is not None:
                setattr(self, name, value)
        if batch.details is not None:
            name = str(batch.details.get("device_id", ""))
            self.details.pop(name, None)
            self.details[name] = batch.details
            while len(self.details) > DETAILS:
                del self.details[next(iter(self.details))]
        if self.marked:
            self.marked &= self.roster.rows.keys()
        if self.picked:
            self.picked &= {e.request for e in self.enrolments or () if e.status == "pending"}
        return changes

    @property
    def counts(self) -> Mapping[str, int]:
        """Devices by state; the last session's until there are newer ones."""
        return self.roster.counts if self.loaded else self.remembered.counts

    def causes(self) -> list[Cause]:
        """Why devices are sick; counted again only when a device changed."""
        if self._causes[0] != self.roster.revision:
            self._causes = self.roster.revision, causes(self.roster.rows.values())
        return self._causes[1]

    def tally(self) -> dict[str, tuple[int, int]]:
        """For each fleet its devices, and those that are well."""
        if self._tally[0] != self.roster.revision:
            many: dict[str, tuple[int, int]] = {}
            for row in self.roster.rows.values():
                for name in filter(None, row.fleets.split(", ")):
                    devices, well = many.get(name, (0, 0))
                    many[name] = devices + 1, well + (row.state == "ok")
            self._tally = self.roster.revision, many
        return self._tally[1]

    @property
    def waiting(self) -> int:
        """Hosts that wait for approval."""
        return sum(1 for e in self.enrolments or () if e.status == "pending")

    def find_rollout(self, ident: str) -> Rollout | None:
        """By its identifier."""
        return next((r for r in self.rollouts or () if r.ident == ident), None)
