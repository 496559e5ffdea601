"""What people do with rollouts: apply a plan, ask, pin, lift. Each is one transaction with all that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from fleet_protocol.documents.fleet import Applied, Plan, PlanRequest
from fleet_protocol.wire import strict_json
from fleet_server.controller.carry import Told
from fleet_server.controller.change import Change, rollout_name, target_of
from fleet_server.controller.controller import Controller, Turn
from fleet_server.controller.live import PLANNED, Live, open_live
from fleet_server.director import NO_SCOPE
from fleet_server.errors import ConflictError, NotFoundError, RefusedError
from fleet_server.plan_world import Brings, Computed
from fleet_server.rollout.decisions import VerbRefused
from fleet_server.rollout.engine import new_rollout
from fleet_server.rollout.facts import Act, Verb
from fleet_server.rollout.state import Phase, State
from fleet_server.store.records import AuditEntry
from fleet_server.store.rollout_records import MemberRow, PinRow, RolloutRow, VerbRow

SERVER = "fleet-server"
T = TypeVar("T")


class Desk:
    """Over one controller."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._store = controller.store
        self._director = controller.director

    # --- plans

    def plan(self, request: PlanRequest, now: int, scope: Mapping[str, str] = NO_SCOPE) -> Plan:
        """What applying it would do, and how it would reach the devices. Writes nothing."""
        from fleet_server.controller.outlook import with_rollouts

        computed = self._director.compute(request, scope)
        names = {name for brings in computed.brings for name in brings.devices}
        known = self._controller.read_known(names, list(computed.fleets.values()))
        pins = {(p.device_id, p.app): p.reason for p in self._store.pins() if not p.until or p.until > now}
        return with_rollouts(computed, known, pins, now)

    def apply(
        self, plan: Plan, who: str, now: int, scope: Mapping[str, str] = NO_SCOPE, *, start: bool = True
    ) -> Applied:
        """Do exactly what `plan` says. Raises ConflictError if the world has moved, RefusedError if it has refusals.

        `start` False: rollouts are made and wait for somebody to start them.
        """
        with self._director.lock:
            computed = self._director.compute(plan.request, scope)
            if computed.plan.world != plan.world or computed.plan.devices != plan.devices:
                raise ConflictError("the fleet has changed since this plan was made", hint="plan again")
            if computed.plan.refusals:
                raise RefusedError(computed.plan.refusals[0].sentence)
            with self._controller.turning(now) as turn:
                names = self._begin(computed, turn, who, now, start=start)
            return Applied(
                devices=len(plan.devices), generations=dict(sorted(turn.generations.items())), rollouts=tuple(names)
            )

    def _begin(self, computed: Computed, turn: Turn, who: str, now: int, *, start: bool) -> list[str]:
        store, plan = self._store, computed.plan
        for digest, data in computed.values.items():
            store.put_value(digest, data)
        fleets = [computed.fleets[f.name] for f in plan.request.fleets]
        store.put_fleets(fleets, plan.request.remove)
        self._at_once(computed, turn, now)
        self._end_what_is_old(computed, turn, now)
        names = []
        for brings in computed.brings:
            if brings.joins:
                names.append(self._join(brings, turn, who, now))
            else:
                names.append(self._new(brings, plan, turn, who, now, start=start))
        detail = {
            "fleets": [f.name for f in fleets],
            "removed": list(plan.request.remove),
            "devices": len(plan.devices),
            "rollouts": names,
            "world": plan.world,
        }
        store.record(AuditEntry(now, who, "apply", ",".join(f.name for f in fleets)[:200], detail))
        return names

    def _at_once(self, computed: Computed, turn: Turn, now: int) -> None:
        """Apps that go, and settings; a rollout of an app that goes loses the device."""
        told: Told = {name: {} for name in computed.at_once}
        for device_id, apps in computed.removed.items():
            told.setdefault(device_id, {}).update(dict.fromkeys(apps))
            for live in self._controller.lives().values():
                if live.change.app in apps and device_id in live.names:
                    turn.gone.setdefault(live.rollout_id, set()).add(device_id)
        fleets = list(computed.fleets.values())
        known = self._controller.read_known(set(told), fleets)
        turn.generations |= self._controller.carrier.tell(told, known, fleets, now)

    def _end_what_is_old(self, computed: Computed, turn: Turn, now: int) -> None:
        """A rollout of what its fleet does not want any more gives it to nobody else. What it has in hand it ends."""
        wanted = {
            (f.name, at.app): (at.version, f.config.get(at.app, {})) for f in computed.fleets.values() for at in f.run
        }
        for live in self._controller.lives().values():
            change = live.change
            now_wants = wanted.get((change.fleet, change.app))
            if now_wants == (change.version, dict(change.config)) or live.state is State.REVERTING:
                continue
            records = live.engine.members.records
            idle = {d for d in live.names if d not in records or records[d].phase is Phase.QUEUED}
            turn.gone.setdefault(live.rollout_id, set()).update(idle)
            live.look_again = 0
            if live.state in (State.PLANNED, State.RUNNING, State.PAUSED):
                instead = f"{change.app} {now_wants[0]}" if now_wants else f"no {change.app}"
                live.engine.turn(State.COMPLETE, f"fleet {change.fleet} wants {instead} now", now)
                turn.look(live.rollout_id, live.names - idle)

    def _new(self, brings: Brings, plan: Plan, turn: Turn, who: str, now: int, *, start: bool) -> str:
        live = new_live(brings, plan.world, now)
        self._store.put_rollout(live.row)
        row = self._store.rollout(live.rollout_id)
        assert row is not None
        live.row = row
        self._controller.add(live)
        if not start:
            self._store.put_members([MemberRow(live.rollout_id, name, PLANNED) for name in brings.devices])
        else:
            self._ask(live, turn, Act.START, who, now)
            self._pin_members(live, brings.devices, turn, now)
        return live.rollout_id

    def _join(self, brings: Brings, turn: Turn, who: str, now: int) -> str:
        live = self._live(brings.joins)
        records = live.engine.members.records
        back = [d for d in brings.devices if d in records and records[d].phase is Phase.LEFT_OUT]
        self._controller.enlist(live, brings.devices)
        if live.state is State.PLANNED:
            self._store.put_members([MemberRow(live.rollout_id, name, PLANNED) for name in brings.devices])
        turn.look(live.rollout_id, brings.devices)
        for device_id in back:
            self._ask(live, turn, Act.UNPIN, who, now, device_id=device_id)
        return live.rollout_id

    # --- verbs

    def ask(self, rollout_id: str, verb: VerbRow, now: int) -> None:
        """Raises ConflictError with the rollout's own words when it cannot be done now, NotFoundError."""
        with self._director.lock:
            live = self._live(rollout_id)
            with self._controller.turning(now) as turn:
                self._controller.keep(live)
                asked = self._ask(
                    live, turn, Act(verb.act), verb.by, now, verb.device_id, wave=verb.wave, reason=verb.reason
                )
                if verb.act == Act.START:
                    self._pin_members(live, live.names, turn, now)
                detail = {k: v for k, v in (("device", verb.device_id), ("reason", verb.reason[:200])) if v}
                self._store.record(AuditEntry(now, verb.by, f"rollout {verb.act}", rollout_id, detail))
            refused = [
                d.sentence
                for _, decisions in turn.made
                for d in decisions.made
                if isinstance(d, VerbRefused) and d.seq == asked
            ]
        if refused:
            raise ConflictError(refused[0], element=rollout_id)

    def _ask(
        self, live: Live, turn: Turn, act: Act, by: str, now: int, device_id: str = "", *, wave: str = "",
        reason: str = "",
    ) -> int:  # fmt: skip
        waiting = turn.asked.setdefault(live.rollout_id, [])
        seq = live.engine.rollout.last_verb + len(waiting) + 1
        waiting.append(Verb(seq, act, by, device_id, wave, reason))
        self._store.put_verb(VerbRow(live.rollout_id, seq, now, str(act), by, device_id, wave, reason))
        return seq

    # --- pins

    def pin(self, row: PinRow) -> PinRow:
        """An app stays as it is on a device. Raises NotFoundError, ConflictError."""
        device = self._store.device(row.device_id)
        if device is None or device.revoked_at is not None:
            raise NotFoundError("there is no such device", element=row.device_id)
        with self._director.lock:
            known = self._controller.read_known({row.device_id}, self._store.fleets())[row.device_id]
            has = known.apps.get(row.app)
            if row.release and (has is None or has["release"] != row.release):
                told = f"it was told to run {has['release']}" if has else "it does not have this app"
                raise ConflictError(f"{row.app} {row.release} cannot be kept there: {told}", element=row.device_id)
            kept = replace(row, release=has["release"] if has else "")
            with self._controller.turning(row.since) as turn:
                self._store.put_pin(kept)
                self._store.record(
                    AuditEntry(row.since, row.by, "pin", f"{row.device_id} {row.app}",
                               {"until": row.until, "reason": row.reason[:200]})
                )  # fmt: skip
                for live in self._with(row.device_id, row.app):
                    if live.engine.members.records[row.device_id].phase in (Phase.QUEUED, Phase.FETCHING):
                        self._ask(live, turn, Act.PIN, row.by, row.since, row.device_id, reason=row.reason)
        return kept

    def unpin(self, device_id: str, app: str, who: str, now: int) -> None:
        """It goes with its fleet again. Raises NotFoundError."""
        with self._director.lock, self._controller.turning(now) as turn:
            if not self._store.drop_pin(device_id, app):
                raise NotFoundError("it is not pinned", element=f"{device_id} {app}")
            self._store.record(AuditEntry(now, who, "unpin", f"{device_id} {app}", {}))
            self._release_pinned(device_id, app, who, turn, now)

    def expire_pins(self, now: int) -> int | None:
        """End the pins whose time is over; when the next one's is."""
        with self._director.lock:
            pins = self._store.pins()
            over = [pin for pin in pins if pin.until and pin.until <= now]
            if over:
                with self._controller.turning(now) as turn:
                    for pin in over:
                        self._store.drop_pin(pin.device_id, pin.app)
                        self._store.record(AuditEntry(now, SERVER, "pin is over", f"{pin.device_id} {pin.app}", {}))
                        self._release_pinned(pin.device_id, pin.app, SERVER, turn, now)
        return min((pin.until for pin in pins if pin.until > now), default=None)

    def _release_pinned(self, device_id: str, app: str, who: str, turn: Turn, now: int) -> None:
        for live in self._with(device_id, app):
            if live.engine.members.records[device_id].phase is Phase.LEFT_OUT:
                self._ask(live, turn, Act.UNPIN, who, now, device_id)

    def _pin_members(self, live: Live, names: Iterable[str], turn: Turn, now: int) -> None:
        wanted = set(names)
        for pin in self._store.pins():
            if pin.app == live.change.app and pin.device_id in wanted and (not pin.until or pin.until > now):
                self._ask(live, turn, Act.PIN, pin.by, now, pin.device_id, reason=pin.reason)

    def _with(self, device_id: str, app: str) -> list[Live]:
        lives = self._controller.lives().values()
        return [live for live in lives if live.change.app == app and device_id in live.engine.members.records]

    # --- quarantine

    def lift(self, app: str, release: str, who: str, reason: str, now: int) -> None:
        """A release may be brought to devices again. Raises NotFoundError."""
        with self._director.lock:
            found = next((q for q in self._store.quarantines() if (q.app, q.release) == (app, release)), None)
            if found is None:
                raise NotFoundError("this release is not in quarantine", element=f"{app}@{release}")
            live = self._live(found.rollout_id)
            with self._controller.turning(now) as turn:
                self._controller.keep(live)
                self._store.lift_quarantine(app, release)
                self._store.record(
                    AuditEntry(now, who, "lift quarantine", f"{app}@{release}", {"reason": reason[:200]})
                )
                if live.engine.rollout.quarantined:
                    self._ask(live, turn, Act.LIFT, who, now, reason=reason)

    # --- reading

    def reading(self, rollout_id: str, look: Callable[[Live], T], now: int) -> T:
        """`look` at a rollout while nothing moves. Raises NotFoundError."""
        with self._director.lock:
            self._controller.seen(now)
            return look(self._live(rollout_id))

    def _live(self, rollout_id: str) -> Live:
        """From memory, or for a rollout that is over from the store. Raises NotFoundError."""
        found = self._controller.lives().get(rollout_id)
        if found is not None:
            return found
        row = self._store.rollout(rollout_id)
        if row is None:
            raise NotFoundError("there is no such rollout", element=rollout_id[:40])
        return self._controller.shown(open_live(row, self._store.members(rollout_id)))


def new_live(brings: Brings, world: str, now: int) -> Live:
    """A rollout that is planned."""
    fleet, release = brings.fleet, brings.facts.release
    config = dict(fleet.config.get(release.app, {}))
    change = Change(
        fleet=fleet.name,
        app=release.app,
        version=release.version,
        sha256=brings.facts.sha256,
        config=config,
        target=target_of(release.version, config, same_version=brings.same_version),
        before=brings.before,
        window_s=release.health.window_s,
        spec=fleet.rollout,
    )
    name = rollout_name(world, fleet.name, release.app)
    record = new_rollout(fleet.rollout, name, release.app, change.target)
    row = RolloutRow(
        name, fleet.name, release.app, now, change.to_bytes(), strict_json.dumps(record.as_dict()), str(record.state)
    )
    return open_live(row, [MemberRow(name, device_id, PLANNED) for device_id in brings.devices])


def asked_of(act: str, who: str, said: Mapping[str, str]) -> VerbRow:
    """A verb as it was asked over the API."""
    return VerbRow("", 0, 0, act, who, said.get("device_id", ""), said.get("wave", ""), said.get("reason", ""))
