"""A rollout over devices that do as they are told ends, or says what it waits for."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollout_support import NEW, NOW, device, specs, started, verdict

from fleet_protocol.documents.rollout import RolloutSpec
from fleet_server.rollout.decisions import Give, TakeBack
from fleet_server.rollout.facts import DeviceFacts, Opinion
from fleet_server.rollout.machine import ENDED
from fleet_server.rollout.why import rollout_causes

OF_PEOPLE = {"paused", "approval", "evidence", "away", "devices", "reverting"}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spec=specs(),
    bad=st.sets(st.integers(0, 11), max_size=3),
    away=st.sets(st.integers(0, 11), max_size=5),
    unsure=st.sets(st.integers(0, 11), max_size=2),
)
def test_it_ends_or_waits_for_people_or_for_devices_that_are_away(
    spec: RolloutSpec, bad: set[int], away: set[int], unsure: set[int]
) -> None:
    facts = {}
    for n in range(12):
        one = device(n, online=n not in away, last_seen=NOW - 9999 if n in away else NOW)
        facts[one.device_id] = one
    now, quiet = NOW, 0
    engine, out = started(spec, facts.values())
    for _ in range(2000):
        news = []
        for decision in out.made:
            if isinstance(decision, Give | TakeBack):
                if isinstance(decision, Give) and decision.stage == "fetch":
                    continue
                one = facts[decision.device_id]
                if one.online:
                    news.append(obeys(one, decision.release, int(decision.device_id[1:]), bad, unsure, now))
        facts.update({f.device_id: f for f in news})
        if engine.rollout.state in ENDED and not news:
            break
        if not news:
            if out.look_again is None:
                break
            now, quiet = out.look_again, quiet + 1
            assert now < NOW + 90 * 86400, "it never ends"
        out = engine.decide(now, news)
    state = engine.rollout.state
    assert state in ENDED or {c.code for c in rollout_causes(engine, now)} <= OF_PEOPLE
    if state == "complete":
        assert not any(engine.members.blocking)
    if state == "reverted" and not engine.rollout.revert_waves:
        assert not [n for n, f in facts.items() if f.online and f.runs == NEW]


def obeys(one: DeviceFacts, release: str, number: int, bad: set[int], unsure: set[int], now: int) -> DeviceFacts:
    """It runs what it is told; a bad one goes back by itself."""
    if release == NEW and number in bad:
        return one._replace(verdict=verdict(NEW, Opinion.FAILED, now))
    opinion = Opinion.INCONCLUSIVE if number in unsure else Opinion.HEALTHY
    return one._replace(runs=release, verdict=verdict(release, opinion, now), last_seen=now)
