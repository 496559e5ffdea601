"""Worlds for rollouts: specifications at random, devices that do as they are told, and an engine with its checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from fleet_protocol.documents.rollout import (
    AbortSpec,
    Amount,
    ApprovalSpec,
    BudgetSpec,
    GateSpec,
    OfflineSpec,
    RateSpec,
    RetrySpec,
    RolloutSpec,
    WaveSpec,
    WindowSpec,
)
from fleet_server.rollout.decisions import Decisions
from fleet_server.rollout.engine import Engine, decide, new_rollout
from fleet_server.rollout.facts import Act, DeviceFacts, Opinion, Verb, Verdict
from fleet_server.rollout.state import DeviceRecord, RolloutRecord

NOW = 1_790_000_000  # a Monday, 14:13 UTC
OLD, NEW = "cam@1.8.2", "cam@1.9.0"

HEALTHY = GateSpec(text="healthy >= 60%", value="healthy", compare=">=", limit=60.0, every_s=30)
RESTARTS = GateSpec(text="restartsPerHour < 5", value="restartsPerHour", compare="<", limit=5.0, every_s=30)
AGAINST = GateSpec(
    text="memory <= 2x old", value="memory", compare="<=", limit=2.0, times_old=True, every_s=30, over="p95"
)

REST = WaveSpec(name="rest", rest=True)
WAVES: tuple[tuple[WaveSpec, ...], ...] = (
    (REST,),
    (REST,),
    (WaveSpec(name="canary", devices=1), REST),
    (WaveSpec(name="canary", devices=2), WaveSpec(name="half", up_to=50.0), REST),
    (WaveSpec(name="lab", select={"site": "a"}, share=50.0), WaveSpec(name="a", select={"site": "a"}), REST),
    (WaveSpec(name="canary", devices=1), WaveSpec(name="go", rest=True, approval=ApprovalSpec(need=2), timeout_s=900)),
)


def specs() -> st.SearchStrategy[RolloutSpec]:
    """Every part of a specification, on or off."""
    amounts = st.sampled_from(
        [None, None, Amount(devices=1), Amount(devices=1), Amount(devices=2), Amount(share=20.0), Amount(share=50.0)]
    )
    budgets = st.builds(
        BudgetSpec,
        per=st.sampled_from(["site", None]),
        max_unavailable=amounts,
        min_available=st.one_of(st.none(), st.builds(Amount, devices=st.integers(0, 2))),
    )
    windows = st.sampled_from([None] * 4 + [WindowSpec(cron=c, for_s=600) for c in ("0 15 * * *", "*/20 * * * *")])
    return st.builds(
        RolloutSpec,
        order=st.sampled_from(["shuffled", "name"]),
        waves=st.sampled_from(WAVES),
        max_parallel=amounts,
        success=st.sampled_from([None, 50.0]),
        min_healthy_s=st.sampled_from([0, 60]),
        soak_s=st.sampled_from([0, 100]),
        wave_timeout_s=st.sampled_from([None, 2000]),
        progress_deadline_s=st.sampled_from([120, 900]),
        budgets=st.lists(budgets, max_size=2).map(tuple),
        rate=st.one_of(
            st.none(), st.builds(RateSpec, per_minute=st.integers(1, 3), growth=st.just(2.0), every=st.just(3))
        ),
        aborts=st.sampled_from(
            [
                (),
                (AbortSpec(share=30.0),),
                (AbortSpec(on=("crash", "oom"), count=1), AbortSpec(share=50.0, sample=3)),
            ]
        ),
        retries=st.sampled_from([{}, {"crash": RetrySpec(times=1, backoff_s=30)}, {"timeout": RetrySpec(times=2)}]),
        gates=st.sampled_from([(), (HEALTHY,), (HEALTHY, RESTARTS), (AGAINST,)]),
        download_window=windows,
        install_window=windows,
        canary_anytime=st.booleans(),
        preconditions=st.sampled_from([(), ("mains",)]),
        veto_s=st.sampled_from([0, 300]),
        offline=st.builds(
            OfflineSpec,
            policy=st.sampled_from(["wait", "defer", "fail", "skip"]),
            after_s=st.sampled_from([0, 60]),
            at_most=st.sampled_from([100.0, 40.0]),
            lost=st.sampled_from(["fail", "defer"]),
        ),
        on_fail=st.sampled_from(["pause", "abort", "revert-wave", "revert", "continue"]),
        rollback_window_s=st.sampled_from([0, 3600]),
        quarantine=st.booleans(),
    )


def device(number: int, **changes: object) -> DeviceFacts:
    """A device that is there, runs the old release and is well."""
    name = f"d{number:03d}"
    facts = DeviceFacts(
        name,
        {"site": "abc"[number % 3]},
        zone=("Europe/Paris", "Asia/Tokyo", None)[number % 3],
        online=True,
        online_since=NOW - 1000,
        last_seen=NOW - 10,
        runs=OLD,
        verdict=verdict(OLD, Opinion.HEALTHY, NOW - 500),
        preconditions={"mains": True},
    )
    return facts._replace(**changes)  # type: ignore[arg-type]


def verdict(about: str, opinion: Opinion, heard_at: int, failure: str = "crash") -> Verdict:
    """With counts that a host can read."""
    return Verdict(about, opinion, heard_at, failure, "exit status 1", 3600, 0, 0, 0, 0, 40.0, 10.0, 5.0, 0.0, 0.1)


def durable(engine: Engine) -> str:
    """What is stored, as text."""
    rows = [r.row() for _, r in sorted(engine.members.records.items())]
    return json.dumps([engine.rollout.as_dict(), rows], sort_keys=True)


def restored(text: str) -> tuple[RolloutRecord, list[DeviceRecord]]:
    """What a server reads after a start."""
    rollout, rows = json.loads(text)
    return RolloutRecord.from_dict(rollout), [DeviceRecord.from_row(row) for row in rows]


def started(spec: RolloutSpec, facts: Iterable[DeviceFacts], now: int = NOW) -> tuple[Engine, Decisions]:
    """A rollout that somebody has just started."""
    return decide(spec, new_rollout(spec, "r-1", "cam", NEW), (), facts, now, asked=[Verb(1, Act.START, "ann")])


def told(decisions: Sequence[object], kind: type) -> list[str]:
    """The devices that a kind of decision is about."""
    return [d.device_id for d in decisions if isinstance(d, kind)]  # type: ignore[attr-defined]
