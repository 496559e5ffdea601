"""Rollouts, case by case: what is decided, and the words that people read."""
# ruff: noqa: E501  (one row of a table stands on one line)

from __future__ import annotations

from typing import Any

import pytest
from rollout_support import HEALTHY, NEW, NOW, OLD, device, durable, restored, started, told, verdict

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
from fleet_server.rollout.decisions import (
    Give,
    Quarantine,
    StateChanged,
    TakeBack,
    VerbRefused,
    WaveOpened,
    WavePassed,
)
from fleet_server.rollout.engine import Engine, decide, new_rollout
from fleet_server.rollout.facts import Act, DeviceFacts, Opinion, Refused, Verb, Veto
from fleet_server.rollout.machine import ALLOWED, NEXT, Event, ImpossibleEventError, move
from fleet_server.rollout.ownership import FREE, Answer, Claim, owners
from fleet_server.rollout.state import DeviceRecord, Phase, RolloutRecord, State
from fleet_server.rollout.view import view
from fleet_server.rollout.waves import plan_waves
from fleet_server.rollout.why import rollout_causes, why
from fleet_server.rollout.windows import Windows

REST = WaveSpec(name="rest", rest=True)
CANARY = (WaveSpec(name="canary", devices=2), REST)


def runs_it(one: DeviceFacts, at: int, opinion: Opinion = Opinion.HEALTHY, kind: str = "crash") -> DeviceFacts:
    runs = OLD if opinion is Opinion.FAILED else NEW
    return one._replace(runs=runs, verdict=verdict(NEW, opinion, at, kind), last_seen=at)


def obey(engine: Engine, made: Any, at: int) -> list[DeviceFacts]:
    return [runs_it(engine.members.facts[d], at) for d in told(made, Give)]


# --- waves


@pytest.mark.parametrize(
    ("waves", "sizes"),
    [
        pytest.param((REST,), [12], id="all at once"),
        pytest.param((WaveSpec(name="a", devices=3), WaveSpec(name="b", up_to=50.0), REST), [3, 3, 6], id="a number, a share of the whole, the rest"),
        pytest.param((WaveSpec(name="a", select={"site": "a"}), REST), [4, 8], id="a selection"),
        pytest.param((WaveSpec(name="a", select={"site": "a"}, share=10.0), REST), [1, 11], id="a tenth of four is one, never none"),
        pytest.param((WaveSpec(name="a", select={"site": "a"}, devices=9), REST), [4, 8], id="no more than there are"),
        pytest.param((WaveSpec(name="a", devices=9), WaveSpec(name="b", up_to=50.0), REST), [9, 0, 3], id="a share that is reached already is empty"),
        pytest.param((WaveSpec(name="a", select={"site": "z"}), REST), [0, 12], id="nobody fits"),
    ],
)  # fmt: skip
def test_every_device_comes_into_one_wave(waves: tuple[WaveSpec, ...], sizes: list[int]) -> None:
    records = plan_waves(RolloutSpec(waves=waves), "r-1", [device(n) for n in range(12)], NOW)
    assert [sum(r.wave == w for r in records) for w in range(len(waves))] == sizes
    assert len({r.device_id for r in records}) == 12


def test_devices_that_are_away_are_no_canaries() -> None:
    away = [device(n, online=False, last_seen=NOW - 9999) for n in range(10)]
    records = plan_waves(RolloutSpec(waves=CANARY), "r-1", [*away, device(10), device(11)], NOW)
    assert {r.device_id for r in records if r.wave == 0} == {"d010", "d011"}


def test_a_wave_opens_when_the_one_before_it_has_soaked_and_its_gates_hold() -> None:
    spec = RolloutSpec(waves=CANARY, soak_s=100, gates=(HEALTHY,))
    engine, out = started(spec, [device(n) for n in range(6)])
    assert [type(d) for d in out.made[:2]] == [StateChanged, WaveOpened]
    canaries = told(out.made, Give)
    assert len(canaries) == 2
    out = engine.decide(NOW + 10, obey(engine, out.made, NOW + 10))
    assert told(out.made, Give) == []
    # The gate is measured every 30 s meanwhile.
    assert out.look_again == NOW + 40
    assert engine.decide(NOW + 109).made[-1:] != ()
    out = engine.decide(NOW + 110)
    assert WavePassed("canary", "its gates hold") in out.made
    assert WaveOpened("rest", 4) in out.made
    assert len(told(out.made, Give)) == 4
    out = engine.decide(NOW + 120, obey(engine, out.made, NOW + 120))
    out = engine.decide(NOW + 300)
    assert out.made[-1] == StateChanged("running", "complete", "")


# --- what goes wrong


@pytest.mark.parametrize("kind", ["crash", "oom", "memory-slope", "probe"])
def test_a_bad_release_stops_at_the_canary_is_taken_back_and_quarantined(kind: str) -> None:
    spec = RolloutSpec(waves=CANARY, aborts=(AbortSpec(share=2.0),), on_fail="revert")
    engine, out = started(spec, [device(n) for n in range(6)])
    good, bad = told(out.made, Give)
    facts = engine.members.facts
    out = engine.decide(NOW + 5, [runs_it(facts[bad], NOW + 5, Opinion.FAILED, kind)])
    assert StateChanged("running", "reverting", "1 of 2 failed, more than 2 %") in out.made
    assert Quarantine("cam", NEW, "1 of 2 failed, more than 2 %") in out.made
    assert sorted(told(out.made, TakeBack)) == sorted([good, bad])
    assert [d.release for d in out.made if isinstance(d, TakeBack)] == [OLD, OLD]
    assert engine.rollout.state is State.REVERTED  # both still run the old one
    assert engine.decide(NOW + 5000).made == ()


@pytest.mark.parametrize(
    ("on_fail", "state", "back"),
    [("pause", "paused", 0), ("abort", "aborted", 0), ("revert", "reverting", 4), ("revert-wave", "reverting", 2), ("continue", "running", 0)],
)  # fmt: skip
def test_what_is_done_on_failure(on_fail: Any, state: str, back: int) -> None:
    waves = (WaveSpec(name="a", devices=2), WaveSpec(name="b", devices=2), WaveSpec(name="c", rest=True))
    spec = RolloutSpec(
        waves=waves, aborts=(AbortSpec(on=("oom",), count=0),), on_fail=on_fail, rate=RateSpec(per_minute=4)
    )
    engine, out = started(spec, [device(n) for n in range(6)])
    out = engine.decide(NOW + 1, obey(engine, out.made, NOW + 1))
    first, second = told(out.made, Give)
    facts = engine.members.facts
    out = engine.decide(
        NOW + 2, [runs_it(facts[first], NOW + 2, Opinion.FAILED, "oom"), runs_it(facts[second], NOW + 2)]
    )
    assert engine.rollout.state == state
    assert len(told(out.made, TakeBack)) == back
    assert [d for d in told(engine.decide(NOW + 3).made, Give) if state != "running"] == []


def test_only_so_many_are_taken_back_at_once_while_they_work() -> None:
    spec = RolloutSpec(budgets=(BudgetSpec(max_unavailable=Amount(devices=2)),))
    engine, out = started(spec, [device(n) for n in range(6)])
    for at in range(1, 4):
        out = engine.decide(NOW + at, obey(engine, out.made, NOW + at))
    assert engine.rollout.state is State.COMPLETE
    out = engine.decide(NOW + 10, asked=[Verb(2, Act.REVERT, "ann", reason="slow")])
    assert engine.rollout.reason == "revert by ann: slow"
    back = told(out.made, TakeBack)
    assert len(back) == 2
    out = engine.decide(NOW + 11, [engine.members.facts[d]._replace(runs=OLD) for d in back])
    assert len(told(out.made, TakeBack)) == 2


def test_a_device_that_is_away_goes_back_when_it_returns() -> None:
    engine, out = started(RolloutSpec(), [device(0), device(1)])
    engine.decide(NOW + 1, obey(engine, out.made, NOW + 1))
    gone = engine.members.facts["d000"]._replace(online=False, last_seen=NOW + 5)
    engine.decide(NOW + 400, [gone])
    out = engine.decide(NOW + 401, asked=[Verb(2, Act.REVERT, "ann")])
    assert sorted(told(out.made, TakeBack)) == ["d000", "d001"]
    out = engine.decide(NOW + 410, [engine.members.facts["d001"]._replace(runs=OLD)])
    assert StateChanged("reverting", "reverted", "revert by ann; 1 deferred") in out.made
    engine.decide(NOW + 9000, [gone._replace(online=True, online_since=NOW + 9000, last_seen=NOW + 9000, runs=OLD)])
    assert engine.members.records["d000"].phase is Phase.REVERTED


def test_what_failed_and_was_seen_by_a_person_does_not_stop_it_again() -> None:
    spec = RolloutSpec(waves=(WaveSpec(name="a", devices=2), REST), aborts=(AbortSpec(count=0),))
    engine, out = started(spec, [device(n) for n in range(4)])
    one, two = told(out.made, Give)
    facts = engine.members.facts
    engine.decide(NOW + 1, [runs_it(facts[one], NOW + 1, Opinion.FAILED), runs_it(facts[two], NOW + 1)])
    assert engine.rollout.state is State.PAUSED
    out = engine.decide(NOW + 2, asked=[Verb(2, Act.RESUME, "ann")])
    assert len(told(out.made, Give)) == 2


def test_a_failure_is_tried_again_after_a_growing_pause() -> None:
    spec = RolloutSpec(retries={"crash": RetrySpec(times=2, backoff_s=60)}, aborts=(AbortSpec(count=0),))
    engine, out = started(spec, [device(0)])
    seen = [told(out.made, Give)]
    at = NOW
    for pause in (60, 120):
        engine.decide(at + 1, [runs_it(engine.members.facts["d000"], at + 1, Opinion.FAILED)])
        assert why(engine, "d000", at + 1).chain[0].until == at + 1 + pause
        at += 1 + pause
        assert engine.decide(at - 1).made == ()
        seen.append(told(engine.decide(at).made, Give))
    engine.decide(at + 1, [runs_it(engine.members.facts["d000"], at + 1, Opinion.FAILED)])
    assert seen == [["d000"]] * 3
    assert engine.rollout.state is State.PAUSED


# --- devices that are away


@pytest.mark.parametrize(
    ("policy", "state", "deferred", "failed"),
    [("defer", "complete", 1, 0), ("wait", "running", 1, 0), ("fail", "complete", 0, 1), ("skip", "complete", 0, 0)],
)  # fmt: skip
def test_who_is_away_is_a_cohort_of_its_own(policy: Any, state: str, deferred: int, failed: int) -> None:
    away = device(9, online=False, last_seen=NOW - 9999)
    engine, out = started(RolloutSpec(offline=OfflineSpec(policy=policy)), [device(0), away])
    engine.decide(NOW + 1, obey(engine, out.made, NOW + 1))
    shown = view(engine, "1.9.0", NOW + 1)
    assert (shown.state, shown.deferred, shown.failed) == (state, deferred, failed)


def test_a_deferred_device_gets_the_release_when_it_returns_after_the_end() -> None:
    away = device(9, online=False, last_seen=NOW - 9999)
    engine, out = started(RolloutSpec(), [device(0), away])
    out = engine.decide(NOW + 1, obey(engine, out.made, NOW + 1))
    assert out.made[-1] == StateChanged("running", "complete", "1 deferred")
    out = engine.decide(NOW + 9, [away._replace(online=True, last_seen=NOW + 9)])
    assert told(out.made, Give) == ["d009"]
    newer = RolloutSpec()
    engine, _ = started(newer, [device(0), away])
    back = away._replace(online=True, last_seen=NOW + 9, superseded_by="r-2")
    assert told(engine.decide(NOW + 9, [back]).made, Give) == []
    assert why(engine, "d009", NOW + 9).chain[0].text == "r-2 brings something newer"


def test_who_falls_silent_after_it_was_given_the_release_is_lost_and_counts() -> None:
    spec = RolloutSpec(waves=CANARY, aborts=(AbortSpec(on=("lost",), count=0),), on_fail="revert")
    engine, out = started(spec, [device(n) for n in range(5)])
    name = told(out.made, Give)[0]
    silent = engine.members.facts[name]._replace(online=False, last_seen=NOW + 2, contact_s=600, overdue_s=1800)
    out = engine.decide(NOW + 3, [silent])
    assert engine.decide(NOW + 1802).made == ()
    out = engine.decide(NOW + 1803)
    assert len(told(out.made, TakeBack)) == 2
    assert engine.rollout.reason == "1 failed (lost), more than 0"


def test_a_first_wave_that_nobody_can_judge_opens_nothing() -> None:
    facts = [device(n, online=False, last_seen=NOW - 9999) for n in range(3)]
    engine, out = started(RolloutSpec(waves=CANARY), facts)
    assert told(out.made, Give) == []
    assert [c.text for c in rollout_causes(engine, NOW)] == ["no device up to wave canary could be judged yet"]


def test_too_many_away_hold_the_wave() -> None:
    spec = RolloutSpec(waves=(WaveSpec(name="all a", select={"site": "a"}), REST), offline=OfflineSpec(at_most=30.0))
    facts = [device(0), device(3, online=False, last_seen=NOW - 9999), device(1)]
    engine, out = started(spec, facts)
    engine.decide(NOW + 1, obey(engine, out.made, NOW + 1))
    assert [c.text for c in rollout_causes(engine, NOW + 1)] == [
        "1 of 2 devices of wave all a are away, at most 30 % may be"
    ]


# --- why not


HELD = [
    pytest.param({"window": True}, {"zone": "Europe/Paris"}, ["waits: window opens 22:00 local"], id="a window in its own time zone"),
    pytest.param({"window": True}, {"zone": "Asia/Tokyo"}, None, id="where it is 23:13 now"),
    pytest.param({"window": True}, {"zone": "Nowhere/At-all"}, ["waits: window opens 22:00 UTC"], id="a zone that does not exist"),
    pytest.param({}, {"veto": Veto("recording", NOW - 1800, 'app veto: "recording", since 13:05 UTC')},
                 ['held: app veto: "recording", since 13:05 UTC'], id="a veto, as the device tells it"),
    pytest.param({}, {"veto": Veto("recording", NOW - 1800)}, ["held: app veto 'recording', since 15:43, expires 21:43"], id="a veto"),
    pytest.param({"preconditions": ("mains", "unmetered")}, {}, ["waits: it does not say that it meets unmetered"], id="a precondition that nobody measured"),
    pytest.param({}, {"owner": "r-0"}, ["waits: r-0 has this app of the device in hand"], id="another rollout"),
    pytest.param({}, {"superseded_by": "r-2"}, ["r-2 brings something newer"], id="a newer rollout"),
    pytest.param({}, {"runs": None}, ["waits: it has not said yet what it runs"], id="never reported"),
    pytest.param({}, {"online": False, "last_seen": NOW - 100}, ["waits: it is not connected now"], id="just gone"),
    pytest.param({}, {"online": False, "last_seen": NOW - 3600, "contact_s": 21600, "overdue_s": 64800}, ["deferred: away, expected by 21:13"], id="a satellite between two contacts"),
    pytest.param({}, {"online": False, "last_seen": NOW - 36000, "contact_s": 3600, "overdue_s": 10800}, ["deferred: away, silent 10.0x its contact time"], id="overdue"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "facts", "words"), HELD)
def test_one_chain_says_why_a_device_has_not_got_it(
    changes: dict[str, Any], facts: dict[str, Any], words: list[str] | None
) -> None:
    if changes.pop("window", False):
        window = WindowSpec(cron="0 22 * * *", for_s=6 * 3600)
        changes = {"install_window": window, "download_window": window}
    engine, out = started(RolloutSpec().model_copy(update=changes), [device(0, **{"zone": "Europe/Paris", **facts})])
    said = [c.text for c in why(engine, "d000", NOW).chain]
    assert (told(out.made, Give) == ["d000"]) if words is None else said == words


def test_a_device_of_a_later_wave_is_told_what_the_wave_before_waits_for() -> None:
    spec = RolloutSpec(
        waves=(WaveSpec(name="canary", devices=1), WaveSpec(name="go", rest=True, approval=ApprovalSpec(need=2)))
    )
    engine, out = started(spec, [device(n) for n in range(3)])
    later = next(r.device_id for r in engine.members.records.values() if r.wave == 1)
    assert [c.text for c in why(engine, later, NOW).chain] == [
        "waits: wave go opens after wave canary",
        "1 devices of wave canary are not done",
    ]
    engine.decide(NOW + 1, obey(engine, out.made, NOW + 1))
    engine.decide(NOW + 2, asked=[Verb(2, Act.APPROVE, "ann"), Verb(3, Act.APPROVE, "ann")])
    assert [c.text for c in why(engine, later, NOW + 2).chain] == [
        "waits: wave go opens next",
        "1 of 2 approvals for wave go",
    ]
    groups = view(engine, "1.9.0", NOW + 2).causes
    assert [(g.cause.text, g.devices) for g in groups] == [("waits: wave go opens next", 2)]
    out = engine.decide(NOW + 3, asked=[Verb(4, Act.APPROVE, "bob")])
    assert len(told(out.made, Give)) == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"budgets": (BudgetSpec(per="site", max_unavailable=Amount(devices=1)),)}, "budget: 1 of 2 in site a are out already"),
        ({"max_parallel": Amount(devices=1)}, "waits: 1 devices are in hand, as many as may be"),
        ({"rate": RateSpec(per_minute=1)}, "waits: 1 devices in a minute were told"),
    ],
)  # fmt: skip
def test_who_is_ready_is_told_what_there_is_no_room_in(changes: dict[str, Any], text: str) -> None:
    engine, out = started(RolloutSpec(**changes), [device(0), device(3)])
    (first,) = told(out.made, Give)
    (other,) = {"d000", "d003"} - {first}
    assert [c.text for c in why(engine, other, NOW).chain] == [text]


def test_a_refusal_is_given_in_the_devices_own_words() -> None:
    engine, _ = started(RolloutSpec(), [device(0)])
    words = "212 MB needed, 140 MB free after clean-up"
    engine.decide(NOW + 1, [engine.members.facts["d000"]._replace(refused=Refused(NEW, words, NOW + 1))])
    assert [c.text for c in why(engine, "d000", NOW + 1).chain] == [f"refused: {words}"]


# --- people


def test_what_people_ask_is_done_once_and_what_cannot_be_done_is_said() -> None:
    spec = RolloutSpec(waves=(REST,), rollback_window_s=100)
    engine, out = started(spec, [device(0)])
    out = engine.decide(
        NOW + 1,
        obey(engine, out.made, NOW + 1),
        asked=[Verb(2, Act.APPROVE, "ann"), Verb(3, Act.SKIP_DEVICE, "ann", "d000")],
    )
    assert [d for d in out.made if isinstance(d, VerbRefused)] == [
        VerbRefused(2, "wave rest needs no approval"),
        VerbRefused(3, "d000 is given: it has been given the release already"),
    ]
    assert engine.rollout.state is State.COMPLETE
    asked = [Verb(4, Act.PAUSE, "ann"), Verb(5, Act.REVERT, "ann"), Verb(6, Act.HOLD, "ann", "nobody")]
    out = engine.decide(NOW + 500, asked=asked)
    assert [d.sentence for d in out.made if isinstance(d, VerbRefused)] == [
        "the rollout is complete, so it cannot be asked to pause",
        "its rollback window ended 399 s ago",
        "nobody is no device of this rollout",
    ]
    assert engine.decide(NOW + 501, asked=asked).made == ()


def test_force_goes_through_windows_vetoes_and_waves_and_not_through_budgets() -> None:
    window = WindowSpec(cron="0 22 * * *", for_s=60)
    spec = RolloutSpec(
        waves=CANARY,
        install_window=window,
        download_window=window,
        budgets=(BudgetSpec(max_unavailable=Amount(devices=1)),),
    )
    engine, out = started(spec, [device(n, veto=Veto("busy", NOW), zone=None) for n in range(4)])
    assert told(out.made, Give) == []
    out = engine.decide(
        NOW + 1, asked=[Verb(2, Act.FORCE_DEVICE, "ann", "d000"), Verb(3, Act.FORCE_DEVICE, "ann", "d001")]
    )
    assert told(out.made, Give) == ["d000"] or told(out.made, Give) == ["d001"]


def test_a_held_or_pinned_device_holds_up_nobody() -> None:
    engine, out = started(RolloutSpec(rate=RateSpec(per_minute=1)), [device(n) for n in range(3)])
    left = sorted({"d000", "d001", "d002"} - set(told(out.made, Give)))
    engine.decide(NOW + 1, asked=[Verb(2, Act.HOLD, "ann", left[0], reason="a test"), Verb(3, Act.PIN, "bob", left[1])])
    out = engine.decide(NOW + 2, obey(engine, out.made, NOW + 2))
    assert out.made[-1] == StateChanged("running", "complete", "1 deferred")
    assert why(engine, left[0], NOW).chain[0].text == "hold by ann: a test"
    out = engine.decide(NOW + 90, asked=[Verb(4, Act.UNHOLD, "ann", left[0]), Verb(5, Act.UNPIN, "ann", left[1])])
    assert len(told(out.made, Give)) == 1


def test_a_quarantined_release_is_given_to_nobody_until_it_is_lifted() -> None:
    rollout = new_rollout(RolloutSpec(), "r-2", "cam", NEW)
    engine, out = decide(
        RolloutSpec(),
        rollout,
        (),
        [device(0)],
        NOW,
        asked=[Verb(1, Act.START, "ann")],
        banned="quarantined since r-1 was taken back",
    )
    assert told(out.made, Give) == []
    assert [c.text for c in why(engine, "d000", NOW).chain] == ["waits: quarantined since r-1 was taken back"]
    assert told(engine.decide(NOW + 1, banned="").made, Give) == ["d000"]


# --- windows, stages, gates


def test_a_device_fetches_by_day_and_installs_by_night() -> None:
    install = WindowSpec(cron="0 22 * * *", for_s=3600)
    engine, out = started(RolloutSpec(install_window=install), [device(0, zone="UTC")])
    assert [d for d in out.made if isinstance(d, Give)] == [Give("d000", NEW, "fetch", "stop-first")]
    opens = out.look_again
    assert opens is not None
    assert (opens % 86400) // 3600 == 22
    out = engine.decide(opens)
    assert [d for d in out.made if isinstance(d, Give)] == [Give("d000", NEW, "install", "stop-first")]


@pytest.mark.parametrize(
    ("zone", "at", "is_open"),
    [
        # 2026-03-29 01:00 UTC: clocks in Paris go from 02:00 to 03:00; 2026-10-25 01:00 UTC: from 03:00 to 02:00.
        # It opens once that night, at the first half past two.
        ("Europe/Paris", 1774746000 + 1800, True),
        ("Europe/Paris", 1774746000 - 3600, False),
        ("Europe/Paris", 1792890000 - 900, True),
        ("UTC", 1792890000 + 3600 + 1800, True),
    ],
)  # fmt: skip
def test_a_window_at_half_past_two_opens_also_when_the_clocks_change(zone: str, at: int, is_open: bool) -> None:
    assert Windows(WindowSpec(cron="30 2 * * *", for_s=3600)).at(zone, at).is_open is is_open


@pytest.mark.parametrize(
    ("gate", "values", "old", "state"),
    [
        pytest.param({"value": "memory", "compare": "<=", "limit": 80.0}, [40, 60], [], "passed", id="the mean is below"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 80.0, "over": "max"}, [40, 90], [], "failed", id="the largest is above"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 80.0, "over": "p95"}, [10] * 19 + [90], [], "passed", id="one in twenty is above"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 1.5, "times_old": True}, [40, 50], [30], "passed", id="not half as much again as on the old release"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 1.5, "times_old": True}, [40, 60], [30], "failed", id="more than half as much again"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 1.5, "times_old": True}, [40], [], "inconclusive", id="nobody left to compare with"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 80.0}, [None], [], "inconclusive", id="hosts that cannot measure are not good"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 50.0, "fail_at": 80.0}, [60], [], "inconclusive", id="between good and bad"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 50.0, "fail_at": 80.0}, [85], [], "failed", id="beyond bad"),
        pytest.param({"value": "memory", "compare": "<=", "limit": 50.0, "sample": 3}, [10, 10], [], "inconclusive", id="too few to say"),
    ],
)  # fmt: skip
def test_a_gate_is_measured(gate: dict[str, Any], values: list[float | None], old: list[float], state: str) -> None:
    from fleet_server.rollout.gates import Wave, measure

    def having(number: int, about: str, memory: float | None) -> DeviceFacts:
        return device(number, runs=about, verdict=verdict(about, Opinion.HEALTHY, NOW)._replace(memory=memory))

    devices = tuple(having(n, NEW, v) for n, v in enumerate(values))
    before = [having(100 + n, OLD, v) for n, v in enumerate(old)]
    wave = Wave(len(values), 0, 0, devices, len(values))
    assert measure(GateSpec(text="g", **gate), wave, before, ()).state == state


@pytest.mark.parametrize(
    ("value", "compare", "limit", "counts", "state"),
    [
        ("healthy", ">=", 90.0, (95, 5, 0), "passed"),
        ("healthy", ">=", 90.0, (95, 0, 5), "passed"),
        ("healthy", ">=", 98.0, (95, 0, 5), "inconclusive"),
        ("healthy", ">=", 98.0, (90, 5, 5), "failed"),
        ("failed", "<=", 2.0, (90, 1, 9), "inconclusive"),
        ("failed", "<=", 2.0, (90, 3, 7), "failed"),
        ("inconclusive", "<=", 5.0, (90, 1, 9), "failed"),
    ],
)
def test_who_cannot_measure_is_neither_good_nor_bad(
    value: str, compare: Any, limit: float, counts: tuple[int, int, int], state: str
) -> None:
    from fleet_server.rollout.gates import Wave, measure

    gate = GateSpec(text="g", value=value, compare=compare, limit=limit)
    assert measure(gate, Wave(*counts, (), 1), (), ()).state == state


@pytest.mark.parametrize(
    ("history", "state"),
    [
        pytest.param([(0, 10.0), (60, 20.0), (120, 30.0)], "inconclusive", id="it reaches 50 in two minutes"),
        pytest.param([(0, 10.0), (60, 10.1), (120, 10.2)], "passed", id="it does in hours"),
        pytest.param([(0, 40.0), (60, 20.0), (120, 10.0)], "passed", id="it falls"),
        pytest.param([(0, 10.0), (60, 30.0)], "passed", id="two values are no trend"),
    ],
)
def test_a_trend_towards_the_limit_is_not_good(history: list[tuple[int, float]], state: str) -> None:
    from fleet_server.rollout.gates import Wave, measure

    one = device(0, runs=NEW, verdict=verdict(NEW, Opinion.HEALTHY, NOW)._replace(memory=30.0))
    gate = GateSpec(text="g", value="memory", compare="<=", limit=50.0, trend_s=600)
    assert measure(gate, Wave(1, 0, 0, (one,), 1), (), history).state == state


def test_a_gate_that_stays_inconclusive_asks_a_person() -> None:
    blind = verdict(NEW, Opinion.HEALTHY, NOW + 1)._replace(memory=None)
    gate = GateSpec(text="memory <= 80%", value="memory", compare="<=", limit=80.0, every_s=60, inconclusive=2)
    engine, out = started(RolloutSpec(waves=CANARY, gates=(gate,)), [device(n) for n in range(4)])
    facts = [engine.members.facts[d]._replace(runs=NEW, verdict=blind) for d in told(out.made, Give)]
    engine.decide(NOW + 1, facts)
    engine.decide(NOW + 61)
    assert engine.rollout.state is State.RUNNING
    engine.decide(NOW + 121)
    assert engine.rollout.state is State.PAUSED
    assert (
        engine.rollout.reason
        == "gate memory <= 80% is inconclusive in wave canary: no device of the wave can measure it"
    )
    out = engine.decide(NOW + 122, asked=[Verb(2, Act.PROMOTE, "ann")])
    assert WavePassed("canary", "promoted by ann") in out.made


def test_the_rate_grows_with_success() -> None:
    spec = RolloutSpec(rate=RateSpec(per_minute=2, growth=2.0, every=2, maximum=6))
    engine, out = started(spec, [device(n) for n in range(14)])
    given, at = [len(told(out.made, Give))], NOW
    for _ in range(3):
        out = engine.decide(at + 1, obey(engine, out.made, at + 1))
        more = out
        at += 61
        out = engine.decide(at)
        given.append(len(told(more.made, Give)) + len(told(out.made, Give)))
        out = out._replace(made=(*more.made, *out.made))
    assert sum(given) == 14
    assert max(given) <= 6 + 4


# --- tables and stores


def test_every_cell_of_the_device_table_is_written_and_an_empty_one_raises() -> None:
    for phase in Phase:
        for event in Event:
            record = DeviceRecord("d", 0, 0, phase=phase)
            after = NEXT[phase][event]
            if after is None:
                with pytest.raises(ImpossibleEventError, match=str(event)):
                    move(record, event, 5)
                assert record.phase is phase
            else:
                move(record, event, 5)
                assert (record.phase, record.since) == (after, 5)


def test_every_act_is_allowed_somewhere_and_nothing_leads_out_of_a_revert_but_its_end() -> None:
    assert set(ALLOWED) == set(Act)
    for act, cells in ALLOWED.items():
        assert cells, act
        for before, after in cells.items():
            if before in (State.REVERTING, State.REVERTED):
                assert after in (State.REVERTING, State.REVERTED)


def test_what_is_stored_is_what_is_read() -> None:
    engine, _ = started(RolloutSpec(gates=(HEALTHY,), rate=RateSpec(per_minute=1)), [device(n) for n in range(3)])
    whole = engine.members.records["d000"]
    whole.forced = whole.forgiven = whole.taken_back = whole.was_well = True
    whole.before, whole.held, whole.failure, whole.words, whole.attempts = OLD, "hold by ann", "oom", "killed", 2
    rollout, records = restored(durable(engine))
    assert rollout == engine.rollout
    assert {r.device_id: r for r in records} == engine.members.records


# --- several rollouts


def claim(name: str, started_at: int, phase: Phase, state: State = State.RUNNING) -> Claim:
    return Claim(RolloutRecord(name, "cam", name, state, started_at=started_at), phase)


@pytest.mark.parametrize(
    ("claims", "answers"),
    [
        pytest.param([claim("a", 1, Phase.QUEUED)], {"a": FREE}, id="alone"),
        pytest.param([claim("a", 1, Phase.QUEUED), claim("b", 2, Phase.QUEUED)], {"a": Answer("", "b"), "b": FREE}, id="the newest owns it"),
        pytest.param([claim("a", 1, Phase.GIVEN), claim("b", 2, Phase.QUEUED)], {"a": Answer("", "b"), "b": Answer("a", "")}, id="what is in hand is finished first"),
        pytest.param([claim("a", 1, Phase.QUEUED), claim("b", 2, Phase.REVERTED, State.REVERTED)], {"a": FREE, "b": FREE}, id="what was taken back makes nothing old"),
        pytest.param([claim("a", 1, Phase.HEALTHY, State.COMPLETE), claim("b", 2, Phase.QUEUED)], {"a": Answer("", "b"), "b": FREE}, id="one that is complete"),
        pytest.param([claim("a", 1, Phase.REVERTING, State.REVERTING), claim("b", 2, Phase.QUEUED)], {"a": Answer("", "b"), "b": Answer("a", "")}, id="one that takes back"),
        pytest.param([claim("a", 1, Phase.QUEUED), claim("b", 1, Phase.QUEUED)], {"a": Answer("", "b"), "b": FREE}, id="begun in the same second"),
    ],
)  # fmt: skip
def test_one_rollout_owns_a_device_and_the_others_know_which(claims: list[Claim], answers: dict[str, Answer]) -> None:
    assert owners(claims) == answers
    assert owners(reversed(claims)) == answers
