"""`decide(spec, facts, now) -> decisions`: pure, no input or output, no clock, total over every reachable state.

`decide` looks at everything anew. `Engine` keeps counters, queues and timers between calls, so that a change costs
what changed; both decide the same, which a test holds them to. The durable part is `Engine.rollout` and the records
of `Engine.members`; everything else is made anew from these and the facts.

One call takes the news, lets every device that is due take its step, and then repeats until nothing moves any more:
criteria (does it fail?), waves (does one open, pass?), giving and taking back, the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from fleet_protocol.documents.rollout import RolloutSpec
from fleet_server.rollout import giving, progress, verbs
from fleet_server.rollout.decisions import Decision, Decisions, DeviceMoved, Quarantine, StateChanged
from fleet_server.rollout.eligible import waits
from fleet_server.rollout.facts import DeviceFacts, Verb
from fleet_server.rollout.giving import Queues
from fleet_server.rollout.machine import ENDED, GIVES, JUDGES, Event, move
from fleet_server.rollout.members import Members
from fleet_server.rollout.observe import News, Situation, due, step
from fleet_server.rollout.state import DeviceRecord, GateRecord, RolloutRecord, State, WaveRecord, WaveState
from fleet_server.rollout.waves import late_wave, plan_waves
from fleet_server.rollout.windows import Windows

ADMITS = frozenset({WaveState.OPEN, WaveState.SOAKING, WaveState.PASSED})


class Engine:
    """One rollout. `banned`: why its release may be given to nobody now ("": it may)."""

    def __init__(
        self,
        spec: RolloutSpec,
        rollout: RolloutRecord,
        records: Iterable[DeviceRecord] = (),
        facts: Iterable[DeviceFacts] = (),
        *,
        banned: str = "",
    ) -> None:
        self.spec = spec
        self.rollout = rollout
        self.banned = banned
        self.members = Members(spec, len(spec.waves))
        self.queues = Queues()
        self.install = Windows(spec.install_window) if spec.install_window else None
        self.download = Windows(spec.download_window) if spec.download_window else None
        self.made: list[Decision] = []
        self._known = {f.device_id: f for f in facts}  # before the start: all that are known
        self._timers: list[tuple[int, str]] = []
        self._timer_of: dict[str, int] = {}
        self._changed: set[str] = set()
        self._stale = True  # every device must take its step
        for record in records:
            if record.device_id in self._known:
                self.members.add(record, self._known[record.device_id])

    def decide(
        self,
        now: int,
        changed: Iterable[DeviceFacts] = (),
        *,
        gone: Iterable[str] = (),
        asked: Iterable[Verb] = (),
        banned: str | None = None,
    ) -> Decisions:
        """What follows from the news. `changed`: facts that are new; `gone`: devices that are no longer ours."""
        self.made, self._changed = [], set()
        if banned is not None and banned != self.banned:
            self.banned, self._stale = banned, True
        for device_id in sorted(gone):
            self._forget(device_id)
        touched = self._take(changed)
        for verb in sorted(asked):
            if verb.seq > self.rollout.last_verb:
                verbs.carry_out(self, verb, now)
        if self.rollout.state is not State.PLANNED:
            self._settle(touched, now)
        return Decisions(tuple(self.made), frozenset(self._changed), self._look_again(now))

    # --- what verbs, progress and giving use

    def start(self, now: int) -> None:
        """Place every device into its wave."""
        for record in plan_waves(self.spec, self.rollout.rollout_id, self._known.values(), now):
            self.members.add(record, self._known[record.device_id])
            self._changed.add(record.device_id)
        for number, wave in enumerate(self.rollout.waves):
            wave.size = len(self.members.of_wave[number])
        self.rollout.devices = len(self.members.records)

    def turn(self, state: State, reason: str, now: int) -> None:
        """Into another state. Every device looks again."""
        rollout, before = self.rollout, self.rollout.state
        rollout.state, rollout.reason, self._stale = state, reason, True
        if state in ENDED:
            rollout.ended_at = now
        self.made.append(StateChanged(before, state, reason))
        if state in (State.ABORTED, State.REVERTING) and self.spec.quarantine and not rollout.quarantined:
            rollout.quarantined = True
            self.made.append(Quarantine(rollout.app, rollout.release, reason))

    def apply(self, device_id: str, news: News, now: int) -> None:
        """One event of one device."""
        record = self.members.records[device_id]
        match news.event:
            case Event.FAIL:
                record.failure, record.words, record.forgiven = news.failure, news.words, False
            case Event.LEAVE:
                record.words = news.words
            case Event.RETRY:
                self._retry(record, now)
            case Event.JOIN:
                record.failure = record.words = ""
            case Event.PROVED:
                self.rollout.wells += 1
                record.failure = record.words = ""
        move(record, news.event, now)
        self._changed.add(device_id)
        self.made.append(DeviceMoved(device_id, record.phase, record.words))

    def touch(self, device_id: str, now: int) -> None:
        """Let a device take all the steps that it can now, and count and queue it as what it is then."""
        members = self.members
        record, facts = members.records[device_id], members.facts[device_id]
        at = self.situation(record, now)
        while (news := step(self.spec, record, facts, at, now)) is not None:
            self.apply(device_id, news, now)
        mark = members.count(device_id, now)
        wait = waits(self, record, facts, now)
        self.queues.place(record, mark, wait)
        times = due(self.spec, record, facts, now)
        if wait.until is not None and wait.until > now:
            times.append(wait.until)
        if times and self._timer_of.get(device_id) != (first := min(times)):
            self._timer_of[device_id] = first
            heapq.heappush(self._timers, (first, device_id))
        elif not times:
            self._timer_of.pop(device_id, None)

    def dirty(self, device_id: str) -> None:
        """Its record must be stored."""
        self._changed.add(device_id)

    def restep(self) -> None:
        """Every device must look again in this call."""
        self._stale = True

    def situation(self, record: DeviceRecord, now: int) -> Situation:
        """What the rollout is to a device now."""
        return Situation(self.rollout.release, self.rollout.state, self.admits(record), self.judging(now))

    def admits(self, record: DeviceRecord) -> bool:
        """Whether its wave takes devices in, or a person let this one in."""
        return record.forced or self.rollout.waves[record.wave].state in ADMITS

    def judging(self, now: int) -> bool:
        """Whether what devices say can still stop or turn the rollout."""
        rollout = self.rollout
        if rollout.state is State.COMPLETE:
            return now <= rollout.ended_at + self.spec.rollback_window_s
        return rollout.state in JUDGES

    def gives(self) -> bool:
        """Whether devices may be given the release at all."""
        return self.rollout.state in GIVES and not self.banned and not self.rollout.quarantined

    # --- inside

    def _take(self, changed: Iterable[DeviceFacts]) -> set[str]:
        touched = set()
        for facts in changed:
            device_id = facts.device_id
            if device_id in self.members.records:
                self.members.facts[device_id] = facts
                touched.add(device_id)
            elif self.rollout.state is State.PLANNED:
                self._known[device_id] = facts
            else:
                self._join(facts)
                touched.add(device_id)
        return touched

    def _join(self, facts: DeviceFacts) -> None:
        self.members.add(DeviceRecord(facts.device_id, late_wave(self.spec, facts), 2**40), facts)
        self._changed.add(facts.device_id)

    def _forget(self, device_id: str) -> None:
        self._known.pop(device_id, None)
        self.members.drop(device_id)
        self.queues.forget(device_id)
        self._timer_of.pop(device_id, None)

    def _retry(self, record: DeviceRecord, now: int) -> None:
        retry = self.spec.retries.get(record.failure)  # type: ignore[call-overload]  # a text of the store
        if retry is None:  # a person asked
            record.attempts, record.not_before = 0, 0
        else:
            pause = min(retry.maximum_s, retry.backoff_s * 2 ** min(record.attempts, 30))
            record.attempts, record.not_before = record.attempts + 1, now + pause

    def _settle(self, touched: set[str], now: int) -> None:
        if not self._stale:
            touched |= self._expired(now)
            for device_id in sorted(touched):
                self.touch(device_id, now)
        while True:
            if self._stale:
                self._stale = False
                for device_id in sorted(self.members.records):
                    self.touch(device_id, now)
                if self._stale:
                    continue
            if not (progress.fails(self, now) or progress.advances(self, now) or giving.hands_out(self, now)):
                return

    def _expired(self, now: int) -> set[str]:
        out = set()
        while self._timers and self._timers[0][0] <= now:
            at, device_id = heapq.heappop(self._timers)
            if self._timer_of.get(device_id) == at:
                del self._timer_of[device_id]
                out.add(device_id)
        return out

    def _look_again(self, now: int) -> int | None:
        while self._timers and self._timer_of.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        times = [self._timers[0][0]] if self._timers else []
        times += progress.times(self, now) + giving.times(self)
        later = [t for t in times if t > now]
        return min(later) if later else None


def decide(
    spec: RolloutSpec,
    rollout: RolloutRecord,
    records: Iterable[DeviceRecord],
    facts: Iterable[DeviceFacts],
    now: int,
    *,
    asked: Iterable[Verb] = (),
    banned: str = "",
) -> tuple[Engine, Decisions]:
    """The same from nothing: the engine that looked at everything, and what it decided."""
    known = {f.device_id: f for f in facts}
    engine = Engine(spec, rollout, records, known.values(), banned=banned)
    unknown = [f for f in known.values() if f.device_id not in engine.members.records]
    return engine, engine.decide(now, unknown, asked=asked)


def new_rollout(spec: RolloutSpec, rollout_id: str, app: str, release: str) -> RolloutRecord:
    """A rollout that is planned and not started."""
    waves = [WaveRecord(w.name, gates=[GateRecord() for _ in spec.gates]) for w in spec.waves]
    return RolloutRecord(rollout_id, app, release, waves=waves)
