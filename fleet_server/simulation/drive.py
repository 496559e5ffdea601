"""Virtual time: the engine and a world, from one moment at which something happens to the next."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from fleet_protocol.documents.rollout import RolloutSpec, RolloutView
from fleet_server.rollout.decisions import Decisions, Give, StateChanged, TakeBack, WavePassed
from fleet_server.rollout.engine import Engine, new_rollout
from fleet_server.rollout.facts import Act, Verb
from fleet_server.rollout.machine import ENDED
from fleet_server.rollout.members import bounds
from fleet_server.rollout.state import State
from fleet_server.rollout.view import view
from fleet_server.simulation.world import DAY, NEW, Mix, World

START = 1_790_000_000
HORIZON = 30 * DAY


class Moment(NamedTuple):
    """Something that an operator would be told; seconds since the start."""

    after_s: int
    text: str


class Outcome(NamedTuple):
    """How it went. Counts are devices."""

    state: str
    reason: str
    took_s: int
    devices: int
    done: int
    failed: int
    deferred: int
    told: int  # that were ever told to run the new release
    left_on_new: int  # run it in the end, whoever knows
    most_in_a_minute: int
    over_budget: int  # devices beyond a budget at the moment when another was told; always 0
    decisions: int
    story: tuple[Moment, ...]
    view: RolloutView


class Driver:
    """One run. Step by step, so that a test can look in between."""

    def __init__(self, spec: RolloutSpec, mix: Mix, devices: int, seed: int) -> None:
        self.now = START
        self.world = World(mix, devices, seed, START, labels_of(spec))
        facts = [d.facts for d in self.world.devices.values()]
        self.engine = Engine(spec, new_rollout(spec, "simulated", "app", NEW), (), facts)
        self.told: set[str] = set()
        self.minutes: Counter[int] = Counter()
        self.story: list[Moment] = []
        self.over_budget = self.decisions = 0
        self.look_again: int | None = None
        self._follow(self.engine.decide(self.now, asked=[Verb(1, Act.START, "simulation")]))

    def step(self, horizon: int = START + HORIZON) -> bool:
        """To the next moment; False: nothing happens any more, or the horizon is reached."""
        times = [t for t in (self.world.next_at(), self.look_again) if t is not None]
        if not times or min(times) > horizon:
            return False
        self.now = max(self.now, min(times))
        heard = self.world.due(self.now)
        self._follow(self.engine.decide(self.now, heard))
        return True

    def run(self, *, settle_s: int = DAY) -> Outcome:
        """Until it has ended and so long after, for devices that return late; or until the horizon."""
        ended_at: int | None = None
        while self.step():
            if self.engine.rollout.state in ENDED or self.engine.rollout.state is State.PAUSED:
                ended_at = ended_at or self.now
                if self.now - ended_at > settle_s or self._at_rest():
                    break
            else:
                ended_at = None
        return self.outcome(ended_at or self.now)

    def outcome(self, ended_at: int) -> Outcome:
        """What can be said now."""
        shown = view(self.engine, "2.0.0", self.now)
        return Outcome(
            shown.state, shown.reason, ended_at - START, shown.devices, shown.done, shown.failed, shown.deferred,
            len(self.told), sum(d.runs == NEW for d in self.world.devices.values()),
            max(self.minutes.values(), default=0), self.over_budget, self.decisions, tuple(self.story), shown,
        )  # fmt: skip

    def _follow(self, out: Decisions) -> None:
        self.look_again = out.look_again
        self.decisions += len(out.made)
        for made in out.made:
            match made:
                case Give(name, release, "install", _):
                    self.told.add(name)
                    self.minutes[self.now // 60] += 1
                    self.world.order(name, release, self.now)
                case TakeBack(name, release, _):
                    self.world.order(name, release, self.now)
                case StateChanged(_, after, reason):
                    self._tell(f"{after}: {reason}" if reason else after)
                case WavePassed(wave, why):
                    self._tell(f"wave {wave} passed: {why}")
        if any(isinstance(m, Give) for m in out.made):
            self._check_budgets()

    def _at_rest(self) -> bool:
        members = self.engine.members
        waiting = any(members.blocking) and self.engine.rollout.state is not State.REVERTED
        return not (waiting or members.total("deferred") or members.reverting)

    def _check_budgets(self) -> None:
        members = self.engine.members
        for budget, shares in zip(members.spec.budgets, members.shares, strict=True):
            for share in shares.values():
                most, _ = bounds(budget, share.total)
                if most is not None and share.out > most and self.engine.rollout.state is State.RUNNING:
                    self.over_budget += share.out - most

    def _tell(self, text: str) -> None:
        self.story.append(Moment(self.now - START, text))


def labels_of(spec: RolloutSpec) -> dict[str, tuple[str, ...]]:
    """Labels that make every selecting wave find devices: one in ten has each value that a wave names."""
    named: dict[str, set[str]] = {}
    for wave in spec.waves:
        for key, value in wave.select.items():
            named.setdefault(key, set()).add(value)
    out = {}
    for key, values in named.items():
        rest = [f"{key}-{n}" for n in range(max(1, 10 - len(values)))]
        out[key] = tuple(sorted(values)) + tuple(rest)
    return out


def simulate(spec: RolloutSpec, mix: Mix, devices: int, seed: int = 1) -> Outcome:
    """One rollout of `spec` over `devices` that are as `mix` says."""
    return Driver(spec, mix, devices, seed).run()
