"""A model of a fleet under a rollout, driven at random: what may never happen, does not, and the same facts make the
same decisions however they come."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rollout_support import NEW, NOW, OLD, device, durable, restored, specs, verdict

from fleet_protocol.documents.rollout import RolloutSpec
from fleet_server.rollout.decisions import Decision, DeviceMoved, Give, StateChanged, TakeBack, WaveOpened, WavePassed
from fleet_server.rollout.engine import Engine, decide, new_rollout
from fleet_server.rollout.facts import Act, DeviceFacts, Opinion, Refused, Verb, Veto
from fleet_server.rollout.members import Members, bounds
from fleet_server.rollout.state import Phase, State
from fleet_server.rollout.view import view
from fleet_server.rollout.why import rollout_causes, why

WELL = frozenset({Phase.HEALTHY, Phase.UNJUDGED, Phase.REVERTED, Phase.LEFT_OUT, Phase.QUEUED, Phase.FETCHING})


class FleetUnderRollout(RuleBasedStateMachine):
    """`wanted`, `phase`, `open_waves`, `state` are the model's own, made of decisions and facts alone."""

    @initialize(spec=specs(), count=st.sampled_from([1, 4, 6, 9]), away=st.sets(st.integers(0, 8), max_size=4))
    def begin(self, spec: RolloutSpec, count: int, away: set[int]) -> None:
        self.spec, self.now, self.seq = spec, NOW, 0
        self.facts: dict[str, DeviceFacts] = {}
        for n in range(count):
            last_seen = NOW - 9999 if n in away else NOW - 10
            one = device(n, online=n not in away, last_seen=last_seen, labels={"site": "aab"[n % 3]})
            self.facts[one.device_id] = one
        self.wanted = dict.fromkeys(self.facts, OLD)
        self.phase: dict[str, str] = dict.fromkeys(self.facts, "queued")
        self.forced: set[str] = set()
        self.back: set[str] = set()  # told to go back while they worked
        self.open_waves: set[str] = set()
        self.state = "planned"
        self.gives: list[int] = []
        self.engine = Engine(spec, new_rollout(spec, "r-1", "cam", NEW), (), self.facts.values())
        self.decide(verbs=[self.verb(Act.START)])

    # --- what happens outside

    @rule(seconds=st.sampled_from([1, 20, 60, 61, 150, 700, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        due = self.later is not None and self.later <= self.now
        made = self.decide()
        assert due or not made, "time alone decided something before it was said that it would"

    @rule(data=st.data(), opinion=st.sampled_from([*Opinion, Opinion.HEALTHY, Opinion.HEALTHY]), kind=st.sampled_from(["crash", "oom", "probe"]))  # fmt: skip  # noqa: E501
    def a_device_does_as_told_and_judges(self, data: st.DataObject, opinion: Opinion, kind: str) -> None:
        one = self.pick(data)
        if one.online:
            target = self.wanted[one.device_id]
            runs = OLD if opinion is Opinion.FAILED and target == NEW else target
            self.say(one, runs=runs, verdict=verdict(target, opinion, self.now, kind), last_seen=self.now)

    @rule(seconds=st.sampled_from([1, 61]))
    def all_that_are_there_do_as_told(self, seconds: int) -> None:
        self.now += seconds
        changed = []
        for name, one in self.facts.items():
            if one.online and (one.runs != self.wanted[name] or one.verdict is None or one.verdict.about != one.runs):
                said = verdict(self.wanted[name], Opinion.HEALTHY, self.now)
                changed.append(one._replace(runs=self.wanted[name], verdict=said, last_seen=self.now))
        self.decide(changed)

    @rule(data=st.data())
    def a_device_refuses(self, data: st.DataObject) -> None:
        one = self.pick(data)
        self.say(one, refused=Refused(NEW, "212 MB needed, 140 MB free", self.now))

    @rule(data=st.data())
    def a_device_comes_or_goes(self, data: st.DataObject) -> None:
        one = self.pick(data)
        since = one.online_since if one.online else self.now
        self.say(one, online=not one.online, last_seen=self.now, online_since=since)

    @rule(data=st.data(), words=st.sampled_from(["recording", ""]), mains=st.booleans())
    def a_device_changes_its_mind(self, data: st.DataObject, words: str, mains: bool) -> None:
        veto = Veto(words, self.now) if words else None
        self.say(self.pick(data), veto=veto, preconditions={"mains": mains})

    @rule(data=st.data(), owner=st.sampled_from(["", "r-0"]), newer=st.sampled_from(["", "", "r-2"]))
    def another_rollout_takes_or_leaves_it(self, data: st.DataObject, owner: str, newer: str) -> None:
        self.say(self.pick(data), owner=owner, superseded_by=newer)

    @rule(data=st.data(), site=st.sampled_from("ab"))
    def a_label_changes(self, data: st.DataObject, site: str) -> None:
        self.say(self.pick(data), labels={"site": site})

    @precondition(lambda self: len(self.facts) < 12)
    @rule()
    def a_device_joins(self) -> None:
        one = device(50 + len(self.facts) + self.seq)
        if one.device_id not in self.facts:
            self.facts[one.device_id], self.wanted[one.device_id] = one, OLD
            self.phase[one.device_id] = "queued"
            self.decide([one])

    @precondition(lambda self: len(self.facts) > 1)
    @rule(data=st.data())
    def a_device_is_decommissioned(self, data: st.DataObject) -> None:
        name = self.pick(data).device_id
        for known in (self.facts, self.wanted, self.phase):
            del known[name]
        self.decide(gone=[name])

    @rule(data=st.data(), act=st.sampled_from(list(Act)), by=st.sampled_from(["ann", "bob"]))
    def a_person_asks(self, data: st.DataObject, act: Act, by: str) -> None:
        name = self.pick(data).device_id
        self.decide(verbs=[self.verb(act, by, name)])

    @rule(by=st.sampled_from(["ann", "bob"]), act=st.sampled_from([Act.APPROVE, Act.PROMOTE, Act.RESUME]))
    def a_person_helps(self, by: str, act: Act) -> None:
        self.decide(verbs=[self.verb(act, by)])

    @rule(act=st.sampled_from([Act.PAUSE, Act.ABORT, Act.REVERT, Act.LIFT]))
    def a_person_stops_it(self, act: Act) -> None:
        self.decide(verbs=[self.verb(act)])

    @rule(banned=st.sampled_from(["", "quarantined by r-0"]))
    def another_rollout_bans_the_release(self, banned: str) -> None:
        self.decide(banned=banned)

    @rule()
    def the_server_is_killed_and_started(self) -> None:
        rollout, records = restored(durable(self.engine))
        banned = self.engine.banned
        self.engine = Engine(self.spec, rollout, records, list(self.facts.values())[::-1], banned=banned)
        out = self.engine.decide(self.now)
        assert (out.made, out.changed) == ((), frozenset()), "a restart decided something"

    @rule()
    def everything_is_said_again_in_another_order(self) -> None:
        out = self.engine.decide(self.now, sorted(self.facts.values(), reverse=True))
        assert (out.made, out.changed) == ((), frozenset())

    # --- how it is driven

    def verb(self, act: Act, by: str = "ann", name: str = "") -> Verb:
        self.seq += 1
        return Verb(self.seq, act, by, name if act in DEVICE_ACTS else "")

    def pick(self, data: st.DataObject) -> DeviceFacts:
        return self.facts[data.draw(st.sampled_from(sorted(self.facts)))]

    def say(self, one: DeviceFacts, **changes: Any) -> None:
        self.decide([one._replace(**changes)])

    def decide(
        self,
        changed: list[DeviceFacts] | None = None,
        *,
        gone: list[str] | None = None,
        verbs: list[Verb] | None = None,
        banned: str | None = None,
    ) -> tuple[Decision, ...]:
        for one in changed or ():
            self.facts[one.device_id] = one
        before = durable(self.engine)
        out = self.engine.decide(self.now, changed or (), gone=gone or (), asked=verbs or (), banned=banned)
        self.follow(out.made, verbs or [])
        self.same_from_nothing(before, gone or [], verbs or [])
        self.later = out.look_again
        again = self.engine.decide(self.now, changed or (), asked=verbs or ())
        assert (again.made, again.changed) == ((), frozenset()), "the same again decided something"
        stored = json.loads(durable(self.engine))[1]
        known = {row[0]: row for row in json.loads(before)[1]}
        moved = {row[0] for row in stored if known.get(row[0]) != row}
        assert moved <= out.changed, "a record changed that nobody was told to store"
        return out.made

    def same_from_nothing(self, before: str, gone: list[str], verbs: list[Verb]) -> None:
        rollout, records = restored(before)
        kept = [r for r in reversed(records) if r.device_id not in gone]
        facts = list(self.facts.values())[::-1]
        other, _ = decide(self.spec, rollout, kept, facts, self.now, asked=verbs, banned=self.engine.banned)
        assert durable(other) == durable(self.engine)

    def follow(self, made: tuple[Decision, ...], verbs: list[Verb]) -> None:
        """What is decided, carried out in the model; what may never be is checked at the moment it would be."""
        for verb in verbs:
            if verb.act is Act.FORCE_DEVICE:
                self.forced.add(verb.device_id)
        records = self.engine.members.records
        for one in made:
            match one:
                case StateChanged(_, after, _):
                    self.state = after
                case WaveOpened(wave, _) | WavePassed(wave, _):
                    self.open_waves.add(wave)
                case Give(name, release, stage, _):
                    assert release == NEW
                    assert self.state in ("running", "complete"), f"given while {self.state}"
                    assert not self.engine.banned
                    wave = self.spec.waves[records[name].wave].name
                    assert wave in self.open_waves or name in self.forced, f"{name} beyond the gate of {wave}"
                    assert self.facts[name].online
                    if self.phase[name] == "queued":
                        self.gives.append(self.now)
                    if stage == "install":
                        self.wanted[name] = NEW
                        self.room_for(name)
                case TakeBack(name, release, _):
                    assert self.state in ("reverting", "reverted")
                    assert release == records[name].before
                    self.wanted[name] = release
                    if records[name].was_well:
                        self.back.add(name)
                        self.room_to_go_back(name)
                case DeviceMoved(name, phase, _):
                    self.phase[name] = phase
                    if phase != "reverting":
                        self.back.discard(name)
        if self.spec.rate is not None:
            limit = min(self.spec.rate.maximum, self.spec.rate.per_minute * 2 ** (self.engine.rollout.wells // 3))
            assert sum(at > self.now - 60 for at in self.gives) <= max(limit, 1)

    def room_for(self, name: str) -> None:
        """The device that is given the release now still fits into every budget."""
        self.phase[name] = "given"
        before = {n: r.before for n, r in self.engine.members.records.items()}
        out = [
            n
            for n, phase in self.phase.items()
            if phase not in WELL and not (phase == "failed" and before[n] in (None, self.facts[n].runs))
        ]
        for budget in self.spec.budgets:
            group = {
                n
                for n, f in self.facts.items()
                if not budget.per or f.labels["site"] == self.facts[name].labels["site"]
            }
            most, _ = bounds(budget, len(group))
            assert most is None or len(group & set(out)) <= most, f"{sorted(group & set(out))} are out, {most} may be"
        limit = self.engine.members.parallel_limit()
        there = [n for n in out if self.phase[n] in ("given", "proving") and not self.silent(n)]
        assert limit is None or len(there) <= limit

    def room_to_go_back(self, name: str) -> None:
        """Of devices that worked, no more go back at the same time than may be out."""
        there = {n for n in self.back if n in self.facts and not self.silent(n)}
        for budget in self.spec.budgets:
            site = self.facts[name].labels["site"]
            group = {n for n, f in self.facts.items() if not budget.per or f.labels["site"] == site}
            most, _ = bounds(budget, len(group))
            assert most is None or len(group & there) <= most, f"{sorted(group & there)} go back, {most} may"

    def silent(self, name: str) -> bool:
        one = self.facts[name]
        return not one.online and self.now - one.last_seen > self.spec.offline.after_s

    # --- what always holds

    @invariant()
    def counters_are_what_counting_gives(self) -> None:
        members = self.engine.members
        fresh = Members(self.spec, len(self.spec.waves))
        for name, record in members.records.items():
            fresh.add(record, members.facts[name])
            fresh.count(name, self.now)
        assert [+t for t in fresh.tally] == [+t for t in members.tally]
        assert (fresh.blocking, fresh.away, fresh.parallel, fresh.reverting) == (
            members.blocking, members.away, members.parallel, members.reverting,
        )  # fmt: skip
        assert +fresh.failures == +members.failures

    @invariant()
    def the_view_adds_up_and_every_device_has_a_cause(self) -> None:
        shown = view(self.engine, "1.9.0", self.now)
        for wave in shown.waves:
            said = wave.model_dump()
            parts = Counter({k: said[k] for k in COUNTED})
            assert parts.total() == wave.size
        for name in self.facts:
            assert why(self.engine, name, self.now).chain
            assert why(self.engine, name, self.now + 1801).chain  # asked before the engine looked again
        waiting = sum(r.phase not in (Phase.HEALTHY, Phase.REVERTED) for r in self.engine.members.records.values())
        assert sum(g.devices for g in shown.causes) == waiting

    @invariant()
    def what_has_not_ended_waits_for_something_named(self) -> None:
        state = self.engine.rollout.state
        if state in (State.RUNNING, State.PAUSED, State.REVERTING):
            causes = rollout_causes(self.engine, self.now)
            assert causes, f"{state} and nothing to wait for"
            assert all(c.until is None or c.until > self.now for c in causes)
        assert self.later is None or self.later > self.now

    @invariant()
    def what_is_wanted_follows_the_phase(self) -> None:
        for name, record in self.engine.members.records.items():
            if record.phase in (Phase.GIVEN, Phase.PROVING, Phase.HEALTHY):
                assert self.wanted[name] == NEW
            if record.phase in (Phase.REVERTING, Phase.REVERTED):
                assert record.before not in (None, NEW)
                assert self.wanted[name] == record.before


COUNTED = (
    "waiting", "updating", "proving", "healthy", "failed", "inconclusive", "deferred", "reverting", "reverted",
    "left_out",
)  # fmt: skip
DEVICE_ACTS = (Act.SKIP_DEVICE, Act.FORCE_DEVICE, Act.HOLD, Act.UNHOLD, Act.PIN, Act.UNPIN)

FleetUnderRollout.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAFleetUnderRollout = FleetUnderRollout.TestCase
