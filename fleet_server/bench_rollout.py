"""`python -m fleet_server.bench_rollout`: what a decision costs. No store, no network; the engine and its facts."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator

from fleet_protocol.documents.rollout import AbortSpec, Amount, BudgetSpec, GateSpec, RateSpec, RolloutSpec, WaveSpec
from fleet_server.rollout.engine import Engine, new_rollout
from fleet_server.rollout.facts import Act, DeviceFacts, Opinion, Verb, Verdict
from fleet_server.rollout.state import DeviceRecord, Phase, RolloutRecord, State

NOW = 1_790_000_000
OLD, NEW = "cam@1.8.2", "cam@1.9.0"
SPEC = RolloutSpec(
    waves=(WaveSpec(name="canary", devices=5), WaveSpec(name="half", up_to=50.0), WaveSpec(name="rest", rest=True)),
    min_healthy_s=60,
    soak_s=600,
    budgets=(BudgetSpec(per="site", max_unavailable=Amount(share=10.0)),),
    rate=RateSpec(per_minute=500, growth=1.5, every=500),
    aborts=(AbortSpec(share=2.0, sample=20), AbortSpec(on=("oom", "crash"), count=50)),
    gates=(GateSpec(text="healthy >= 98%", value="healthy", compare=">=", limit=98.0),),
    on_fail="revert",
)


def main() -> None:
    """Prints one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=[10_000, 100_000])
    for count in parser.parse_args().devices:
        for name, figure, unit in measure(count):
            print(f"{name:<64} {figure:>12,.2f} {unit}")


def measure(count: int) -> Iterator[tuple[str, float, str]]:
    """(what, how much, unit). In the middle of a rollout: half of the devices have the release, one wave is open."""
    engine = middle(count)
    yield f"re-evaluate {count} devices after one changed, median", 1000 * one_change(engine), "ms"
    yield f"re-evaluate {count} devices after a hundred changed, median", 1000 * many_changes(engine), "ms"
    facts = list(engine.members.facts.values())
    yield f"{count} devices, each with new facts, at once", 1000 * _timed(lambda: engine.decide(NOW + 2, facts)), "ms"
    records = list(engine.members.records.values())
    made = _timed(lambda: Engine(SPEC, engine.rollout, records, facts).decide(NOW + 3))
    yield f"the engine for {count} devices made anew, after a start", 1000 * made, "ms"


def middle(count: int) -> Engine:
    """Two waves have passed; the last one is open and a few devices of it are in hand."""
    facts = [device(n, count) for n in range(count)]
    planned = Engine(SPEC, new_rollout(SPEC, "bench", "cam", NEW), (), facts)
    planned.decide(NOW - 5000, asked=[Verb(1, Act.START, "bench")])
    rollout = RolloutRecord.from_dict(planned.rollout.as_dict())
    assert rollout.state is State.RUNNING
    records = []
    for record in planned.members.records.values():
        row = DeviceRecord.from_row(record.row())
        if row.wave < 2:
            row.phase, row.since, row.given_at, row.before = Phase.HEALTHY, NOW - 3000, NOW - 4000, OLD
        records.append(row)
    for wave in rollout.waves[:2]:
        wave.state = type(wave.state).PASSED
    runs = {r.device_id for r in records if r.phase is Phase.HEALTHY}
    now = [
        f._replace(runs=NEW, verdict=f.verdict._replace(about=NEW)) if f.device_id in runs and f.verdict else f
        for f in facts
    ]
    engine = Engine(SPEC, rollout, records, now)
    engine.decide(NOW)
    gc.collect()
    gc.freeze()  # what was made before is not looked through again while time is taken
    return engine


def device(number: int, count: int) -> DeviceFacts:
    """One of a hundred sites; one in twenty is away."""
    there = number % 20 != 0
    said = Verdict(OLD, Opinion.HEALTHY, NOW - 9000, "", "", 3600, 0, 0, 0, 0, 40.0, 10.0, 5.0, 0.0, 0.1)
    return DeviceFacts(
        f"dev-{number:06d}",
        {"site": f"site-{number % max(1, count // 100)}"},
        zone=("Europe/Paris", "Asia/Tokyo", "America/Chicago")[number % 3],
        online=there,
        last_seen=NOW - (5 if there else 90_000),
        runs=OLD,
        verdict=said,
    )


def one_change(engine: Engine, rounds: int = 200) -> float:
    """Seconds for one device's news and all that follows, the median of many."""
    names = sorted(engine.members.facts)[:rounds]
    taken = []
    for n, name in enumerate(names):
        facts = engine.members.facts[name]._replace(last_seen=NOW + n)
        taken.append(_timed(lambda facts=facts: engine.decide(NOW + 1, [facts])))  # type: ignore[misc]
    return statistics.median(taken)


def many_changes(engine: Engine, rounds: int = 20, width: int = 100) -> float:
    """The same for a hundred at once."""
    names = sorted(engine.members.facts)
    taken = []
    for n in range(rounds):
        chosen = names[(n * width) % len(names) :][:width]
        news = [engine.members.facts[d]._replace(last_seen=NOW + n) for d in chosen]
        taken.append(_timed(lambda news=news: engine.decide(NOW + 1, news)))  # type: ignore[misc]
    return statistics.median(taken)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
