"""Carries decisions out: what each device is told from now on, and every record that changed, in one transaction."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fleet_protocol.documents.desired import DesiredApp, Settings
from fleet_protocol.documents.fleet import FleetSpec
from fleet_server.configuration import UnfitValueError
from fleet_server.controller.change import SORTED, mark_of
from fleet_server.controller.known import Known
from fleet_server.controller.live import Live
from fleet_server.director import Director
from fleet_server.plan_world import Intended, ReleaseFacts
from fleet_server.rollout.decisions import (
    Decision,
    Decisions,
    DeviceMoved,
    GateMeasured,
    Give,
    Quarantine,
    StateChanged,
    TakeBack,
    VerbRefused,
    WaveOpened,
    WavePassed,
)
from fleet_server.rollout.state import Phase
from fleet_server.selection import merged_settings, selects
from fleet_server.store.api import Store
from fleet_server.store.records import AuditEntry
from fleet_server.store.rollout_records import DecisionRow, QuarantineRow

NAMED = 10
WHO = "fleet-server"
Told = dict[str, dict[str, DesiredApp | None]]

log = logging.getLogger("roadstead.rollouts")


class Carrier:
    """Of one controller. Every call within a transaction, with the director's lock held."""

    def __init__(self, store: Store, director: Director, release: Callable[[Live], ReleaseFacts | None]) -> None:
        self._store = store
        self._director = director
        self._release = release

    def carry_out(
        self,
        made: Sequence[tuple[Live, Decisions]],
        known: Mapping[str, Known],
        fleets: Sequence[FleetSpec],
        now: int,
    ) -> dict[str, int]:
        """Everything that these decisions cause; the generations of the devices that were told something new."""
        told: Told = {}
        releases = {live.rollout_id: self._release(live) for live, _ in made}
        for live, decisions in made:
            for decision in decisions.made:
                self._one(live, decision, known, told, releases, now)
        generations = self.tell(told, known, fleets, now)
        for live, decisions in made:
            self._keep(live, decisions, now)
        return generations

    def tell(self, told: Told, known: Mapping[str, Known], fleets: Sequence[FleetSpec], now: int) -> dict[str, int]:
        """Sign what these devices shall run now: what they were told before, with these apps instead."""
        settings: dict[tuple[str, ...], Settings] = {}
        intended: dict[str, Intended] = {}
        for device_id, apps in told.items():
            device = known[device_id]
            mine = [fleet for fleet in fleets if selects(fleet, device.labels)]
            names = tuple(fleet.name for fleet in mine)
            if names not in settings:
                settings[names] = merged_settings(mine)
            wanted = {name: _app(app) for name, app in device.apps.items() if name not in apps}
            wanted |= {name: app for name, app in apps.items() if app is not None}
            intended[device_id] = Intended(tuple(wanted[name] for name in sorted(wanted)), settings[names])
        return self._director.put(intended, now) if intended else {}

    # --- one decision

    def _one(
        self,
        live: Live,
        decision: Decision,
        known: Mapping[str, Known],
        told: Told,
        releases: Mapping[str, ReleaseFacts | None],
        now: int,
    ) -> None:
        match decision:
            case Give(device_id, _, "install", _):
                self._give(live, known[device_id], told, releases)
            case TakeBack(device_id):
                before = live.before.get(device_id, "")
                app = _app(json.loads(before)) if before else None
                told.setdefault(device_id, {})[live.change.app] = app
            case Quarantine(app, release, reason, lifted):
                if lifted:
                    self._store.lift_quarantine(app, release)
                else:
                    self._store.put_quarantine(QuarantineRow(app, release, now, live.rollout_id, reason))
                action = "lift quarantine" if lifted else "quarantine"
                self._record(now, action, f"{app}@{release}", {"rollout": live.rollout_id, "reason": reason[:200]})
            case StateChanged(before_state, after, reason):
                detail = {"before": before_state, "after": after, "reason": reason[:200]}
                self._record(now, "rollout", live.rollout_id, detail)
                log.info("%s: %s -> %s %s", live.rollout_id, before_state, after, reason)
            case _:
                pass

    def _give(self, live: Live, device: Known, told: Told, releases: Mapping[str, ReleaseFacts | None]) -> None:
        change = live.change
        try:
            wanted = live.wanted(device.labels, releases[live.rollout_id])
        except UnfitValueError as error:  # its labels have changed; it is shown as refused
            log.warning("%s: %s: %s", live.rollout_id, device.device_id, error)
            return
        for digest, data in wanted.large.items():
            self._store.put_value(digest, data)
        had = device.apps.get(change.app)
        if had is None or mark_of(had) != wanted.mark:  # else it is told a second time
            live.before[device.device_id] = SORTED.encode(had) if had is not None else ""
        told.setdefault(device.device_id, {})[change.app] = wanted.app

    # --- rows

    def _keep(self, live: Live, decisions: Decisions, now: int) -> None:
        gone = sorted(live.names - live.engine.members.records.keys()) if live.engine.members.records else []
        if gone:
            self._store.drop_members(live.rollout_id, gone)
            live.names -= set(gone)
            for name in gone:
                live.before.pop(name, None)
        present = live.present()
        if present != live.row:
            self._store.put_rollout(present)
            live.row = present
        if decisions.changed:
            live.names |= decisions.changed
            self._store.put_members(live.members(sorted(decisions.changed & live.engine.members.records.keys())))
        rows = [row for d in decisions.made if (row := _history(live, d, now)) is not None]
        given = [d.device_id for d in decisions.made if isinstance(d, Give) and d.stage == "install"]
        back = [d.device_id for d in decisions.made if isinstance(d, TakeBack)]
        for kind, names in (("give", given), ("take-back", back)):
            if names:
                text = f"{len(names)} device(s): {_some(names)}"
                rows.append(DecisionRow(live.rollout_id, now, kind, "", text))
                self._record(now, f"rollout {kind}", live.rollout_id, {"devices": len(names), "names": names[:NAMED]})
        if rows:
            self._store.put_decisions(rows)

    def _record(self, now: int, action: str, element: str, detail: Mapping[str, Any]) -> None:
        self._store.record(AuditEntry(now, WHO, action, element, detail))


def _history(live: Live, decision: Decision, now: int) -> DecisionRow | None:
    """What is worth to be read later; of devices only failures."""
    name = live.rollout_id
    match decision:
        case StateChanged(before, after, reason):
            return DecisionRow(name, now, "state", "", f"{before} -> {after}" + (f": {reason}" if reason else ""))
        case WaveOpened(wave, devices):
            return DecisionRow(name, now, "wave", wave, f"opened for {devices} device(s)")
        case WavePassed(wave, why):
            return DecisionRow(name, now, "wave", wave, f"passed: {why}")
        case GateMeasured(wave, gate, state, said):
            return DecisionRow(name, now, "gate", wave, f"{gate}: {state}: {said}")
        case Quarantine(app, release, reason, lifted):
            return DecisionRow(name, now, "quarantine", f"{app}@{release}", "lifted" if lifted else reason)
        case DeviceMoved(device_id, Phase.FAILED, words):
            record = live.engine.members.records.get(device_id)
            return DecisionRow(name, now, "failed", device_id, f"{record.failure if record else 'other'}: {words}")
        case VerbRefused(seq, sentence):
            return DecisionRow(name, now, "refused", str(seq), sentence)
        case _:
            return None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _app(value: Mapping[str, Any]) -> DesiredApp:
    return DesiredApp.model_validate_json(json.dumps(value))


def told_without(device_ids: Mapping[str, Iterable[str]]) -> Told:
    """These apps of these devices go."""
    return {device_id: dict.fromkeys(apps) for device_id, apps in device_ids.items()}
