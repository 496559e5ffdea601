"""Rollouts over simulated fleets: every scenario ends as its row says, and what must hold holds on the way."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollout_support import durable, restored, specs

from fleet_protocol.documents.rollout import OfflineSpec, RolloutSpec
from fleet_server.rollout.engine import Engine
from fleet_server.simulation.drive import START, Driver, simulate
from fleet_server.simulation.scenarios import SCENARIOS, USUAL, Scenario, by_name
from fleet_server.simulation.world import DAY, NEW


@pytest.mark.parametrize("scenario", [pytest.param(s, id=s.name) for s in SCENARIOS if s.name != "one-in-a-thousand"])
def test_a_scenario_ends_as_its_row_says(scenario: Scenario) -> None:
    outcome = simulate(USUAL, scenario.mix, 400)
    assert outcome.state == scenario.ends, outcome.story
    assert outcome.over_budget == 0
    if outcome.state == "complete":
        assert outcome.done + outcome.deferred + outcome.view.waves[-1].left_out == outcome.devices
    if outcome.state == "reverted" and scenario.name != "dead":
        # Whoever was told is back, and nobody that can be reached is left on it.
        assert outcome.left_on_new == outcome.deferred == 0 or "satellite" in scenario.name
        assert outcome.view.quarantined


@pytest.mark.parametrize("name", ["crash", "oom", "slow-leak", "refused"])
def test_a_bad_release_reaches_no_device_beyond_the_canaries(name: str) -> None:
    assert simulate(USUAL, by_name(name).mix, 1000).told == 5


def test_satellite_devices_catch_up_through_the_same_gates() -> None:
    outcome = simulate(USUAL, by_name("satellite").mix, 400)
    assert outcome.left_on_new >= outcome.devices - 2
    assert outcome.took_s < DAY


def test_a_policy_that_waits_does_not_end_without_those_that_never_return() -> None:
    waiting = USUAL.model_copy(update={"offline": OfflineSpec(policy="wait")})
    outcome = simulate(waiting, by_name("gone").mix, 100)
    assert outcome.state == "running"
    assert "are not done" in outcome.view.next[0].text


def test_the_same_seed_is_the_same_story_and_another_is_another() -> None:
    mix = by_name("everything").mix
    assert simulate(USUAL, mix, 200, 7) == simulate(USUAL, mix, 200, 7)
    assert simulate(USUAL, mix, 200, 7) != simulate(USUAL, mix, 200, 8)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs(), scenario=st.sampled_from(SCENARIOS), seed=st.integers(0, 99), cut=st.integers(1, 60))
def test_a_server_that_starts_again_in_the_middle_changes_nothing(
    spec: RolloutSpec, scenario: Scenario, seed: int, cut: int
) -> None:
    whole, broken = Driver(spec, scenario.mix, 60, seed), Driver(spec, scenario.mix, 60, seed)
    for number in range(400):
        if whole.step(START + 2 * DAY) != broken.step(START + 2 * DAY):
            pytest.fail("one of the two stopped")
        if number % cut == 0:
            rollout, records = restored(durable(broken.engine))
            facts = [d.facts for d in broken.world.devices.values()]
            broken.engine = Engine(spec, rollout, records, facts[::-1])
            again = broken.engine.decide(broken.now)
            assert again.made == ()
            broken.look_again = again.look_again
    assert durable(whole.engine) == durable(broken.engine)
    assert whole.story == broken.story
    assert {n: d.runs == NEW for n, d in whole.world.devices.items()} == {
        n: d.runs == NEW for n, d in broken.world.devices.items()
    }
