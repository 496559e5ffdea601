"""What may happen to a rollout, as a table: links, faults, and what should come of it."""

from __future__ import annotations

from typing import NamedTuple

from fleet_protocol.documents.rollout import AbortSpec, Amount, BudgetSpec, GateSpec, RateSpec, RolloutSpec, WaveSpec
from fleet_server.simulation.world import FLAPPING, GONE, NIGHTLY, SATELLITE, Fault, Mix

USUAL = RolloutSpec(
    waves=(WaveSpec(name="canary", devices=5), WaveSpec(name="to 25%", up_to=25.0), WaveSpec(name="rest", rest=True)),
    min_healthy_s=60,
    soak_s=600,
    progress_deadline_s=1800,
    budgets=(BudgetSpec(per="site", max_unavailable=Amount(share=25.0)),),
    rate=RateSpec(per_minute=200, growth=1.5, every=500, maximum=2000),
    aborts=(AbortSpec(share=2.0),),
    gates=(GateSpec(text="healthy >= 98%", value="healthy", compare=">=", limit=98.0),),
    on_fail="revert",
)


class Scenario(NamedTuple):
    """`ends`: the state that the usual specification leads to."""

    name: str
    text: str
    mix: Mix
    ends: str


SCENARIOS = (
    Scenario("good", "a good release, everybody there", Mix(), "complete"),
    Scenario("crash", "it crashes everywhere", Mix(faults=((Fault("crash"), 100.0),)), "reverted"),
    Scenario("oom", "killed for its memory on every second host", Mix(faults=((Fault("oom", 90), 50.0),)), "reverted"),
    Scenario("slow-leak", "well at first, then a leak", Mix(faults=((Fault("memory-slope", 400), 100.0),)), "reverted"),
    Scenario("probe", "its probe fails on one host in ten", Mix(faults=((Fault("probe"), 10.0),)), "reverted"),
    Scenario("one-in-a-thousand", "one host in a thousand fails", Mix(faults=((Fault("crash"), 0.1),)), "complete"),
    Scenario("refused", "a third of the hosts has no room", Mix(faults=((Fault("refused"), 33.0),)), "reverted"),
    Scenario("dead", "hosts fall silent with it", Mix(faults=((Fault("dead"), 20.0),)), "reverted"),
    Scenario("blind", "one host in five cannot measure", Mix(faults=((Fault("unmeasurable"), 20.0),)), "paused"),
    Scenario("flapping", "a third of the links flaps", Mix(links=((FLAPPING, 33.0),)), "complete"),
    Scenario("satellite", "a quarter is heard every six hours", Mix(links=((SATELLITE, 25.0),)), "complete"),
    Scenario("nightly", "half is switched off at night", Mix(links=((NIGHTLY, 50.0),)), "complete"),
    Scenario("gone", "one in ten never returns", Mix(links=((GONE, 10.0),)), "complete"),
    Scenario(
        "crash-and-satellite", "it crashes on half, a quarter is heard every six hours",
        Mix(links=((SATELLITE, 25.0),), faults=((Fault("crash"), 50.0),)), "reverted",
    ),
    Scenario(
        "everything", "all links, and rare faults of all kinds",
        Mix(
            links=((FLAPPING, 10.0), (SATELLITE, 10.0), (NIGHTLY, 10.0), (GONE, 2.0)),
            faults=((Fault("crash"), 0.2), (Fault("probe"), 0.2), (Fault("refused"), 0.2)),
        ),
        "complete",
    ),
)  # fmt: skip


def by_name(name: str) -> Scenario:
    """Raises KeyError."""
    return {s.name: s for s in SCENARIOS}[name]
