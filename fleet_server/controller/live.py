"""One rollout in memory: its engine, what it brings to whom, and the rows of the store that it is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fleet_protocol.documents.desired import DesiredApp
from fleet_protocol.wire import strict_json
from fleet_server.configuration import Configured, UnfitValueError, configured, uses_labels
from fleet_server.controller.change import Change, config_target, mark
from fleet_server.controller.known import Asked, Known, facts
from fleet_server.plan_world import AppId, Begun, ReleaseFacts, unusable
from fleet_server.rollout.engine import Engine
from fleet_server.rollout.facts import DeviceFacts, Refused
from fleet_server.rollout.ownership import FREE, Answer
from fleet_server.rollout.state import DeviceRecord, Phase, RolloutRecord, State
from fleet_server.store.rollout_records import MemberRow, RolloutRow

COMPACT = json.JSONEncoder(separators=(",", ":"))
PLANNED = "planned"  # the phase of a device that was not placed in a wave yet
OPEN_STATES = frozenset({State.PLANNED, State.RUNNING, State.PAUSED, State.COMPLETE})
LIVE_STATES = OPEN_STATES | {State.REVERTING}
NOT_GIVEN = frozenset({Phase.QUEUED, Phase.LEFT_OUT})
DONE = frozenset({Phase.HEALTHY, Phase.FAILED, Phase.UNJUDGED, Phase.LEFT_OUT, Phase.REVERTED})


class Wanted(NamedTuple):
    """What a device is to be told of the app, and its values above 1 KiB."""

    app: DesiredApp
    mark: str
    large: Mapping[str, bytes]


class Live:
    """`before`: what each device was told of the app before it was given this. `dirty`: records to be written."""

    def __init__(self, row: RolloutRow, change: Change, engine: Engine, members: Iterable[MemberRow]) -> None:
        self.row, self.change, self.engine = row, change, engine
        self.before: dict[str, str] = {}
        self.names: set[str] = set()
        for member in members:
            self.names.add(member.device_id)
            if member.before is not None:
                self.before[member.device_id] = member.before
        self.look_again: int | None = 0
        self._wanted: dict[tuple[tuple[str, str], ...], Wanted] = {}
        self._labelled = uses_labels(change.config)
        self._parsed: dict[str, Mapping[str, Any]] = {}

    @property
    def rollout_id(self) -> str:
        """Its name."""
        return self.row.rollout_id

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.engine.rollout.state

    def wanted(self, labels: Mapping[str, str], release: ReleaseFacts | None) -> Wanted:
        """What a device with these labels is to be told. Raises UnfitValueError."""
        key = tuple(sorted(labels.items())) if self._labelled else ()
        if key not in self._wanted:
            change = self.change
            made = Configured({}, {})
            if change.config:
                if release is None:
                    raise UnfitValueError(f"{change.app} {change.version} is no longer listed by its role")
                made = configured(release.release, change.config, labels)
            app = DesiredApp(app=change.app, release=change.version, sha256=change.sha256, config=dict(made.values))
            self._wanted[key] = Wanted(app, mark(app), made.large)
        return self._wanted[key]

    def facts(self, known: Known, release: ReleaseFacts | None, answer: Answer = FREE) -> DeviceFacts:
        """What the engine is shown of a device."""
        record = self.engine.members.records.get(known.device_id)
        try:
            wanted, unfit = self.wanted(known.labels, release).mark, ""
        except UnfitValueError as error:
            wanted, unfit = "", str(error)
        before = self.before.get(known.device_id)
        asked = Asked(
            self.change.app,
            self.change.target,
            wanted,
            None if not before else self._read(before),
            record.phase if record else Phase.QUEUED,
            record.given_at if record else 0,
            answer.owner,
            answer.superseded_by,
        )
        found = facts(known, asked)
        return found._replace(refused=Refused(self.change.target, unfit, 2**53)) if unfit else found

    def banned(self, release: ReleaseFacts | None, quarantined: Mapping[AppId, str]) -> str:
        """Why nobody may be given it now; "": they may."""
        change = self.change
        if release is None or release.sha256 != change.sha256:
            return f"{change.app} {change.version} is no longer listed by its role"
        if why := unusable(release):
            return f"{change.app} {change.version} {why}"
        for text in (change.version, config_target(change.version, change.config)):
            if (change.app, text) in quarantined and not self.engine.rollout.quarantined:
                return f"{change.app} {text} is in quarantine: {quarantined[change.app, text]}"
        return ""

    def begun(self) -> Begun:
        """As planning sees it."""
        records = self.engine.members.records
        left = frozenset(name for name, record in records.items() if record.phase is Phase.LEFT_OUT)
        names = frozenset(self.names)
        change, state = self.change, self.state
        return Begun(
            self.rollout_id, change.version, change.config, state in LIVE_STATES, state in OPEN_STATES, names, left
        )

    def is_over(self, now: int, *, newer: bool) -> bool:
        """Nothing can happen in it by itself any more. `newer`: another rollout of the app came after it."""
        rollout, records = self.engine.rollout, self.engine.members.records
        if rollout.state is State.ABORTED:
            return True
        if rollout.state not in (State.COMPLETE, State.REVERTED):
            return False
        if any(record.phase not in DONE for record in records.values()) or self.engine.queues.line_of:
            return False
        if rollout.state is State.REVERTED:
            return True
        return newer or now > rollout.ended_at + self.change.spec.rollback_window_s

    # --- rows

    def present(self, *, closed: bool = False) -> RolloutRow:
        """Where it stands, as it is stored."""
        row, record = self.row, strict_json.dumps(self.engine.rollout.as_dict())
        return RolloutRow(
            row.rollout_id, row.fleet, row.app, row.created_at, row.change, record, str(self.state), closed, row.seq
        )

    def members(self, names: Iterable[str]) -> list[MemberRow]:
        """These devices, as they are stored."""
        records = self.engine.members.records
        return [
            MemberRow(
                self.rollout_id,
                name,
                str(records[name].phase) if name in records else PLANNED,
                COMPACT.encode(records[name].row()).encode() if name in records else None,
                self.before.get(name),
            )
            for name in names
        ]

    def _read(self, before: str) -> Mapping[str, Any]:
        if before not in self._parsed:
            if len(self._parsed) > 1000:
                self._parsed.clear()
            self._parsed[before] = json.loads(before)
        return self._parsed[before]


def open_live(row: RolloutRow, members: Iterable[MemberRow]) -> Live:
    """From the store. Before it decides anything it must be shown the facts of all its devices."""
    change = Change.model_validate_json(row.change)
    rows = list(members)
    record = RolloutRecord.from_dict(json.loads(row.record))
    records = [DeviceRecord.from_row(json.loads(m.record)) for m in rows if m.record]
    return Live(row, change, Engine(change.spec, record, records, [DeviceFacts(m.device_id) for m in rows]), rows)
