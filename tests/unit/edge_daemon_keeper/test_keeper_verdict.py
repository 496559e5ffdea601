"""The device's own verdict: bounded, typed, unknown is never 0; and the trials that end without a proof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world_support import SLOPE, WINDOW_S, SmallWorld

from edge_daemon.keeper import loop
from edge_daemon.keeper.figures import Figures, Gauge, Gauges, as_text, known_only, of_text, worst
from edge_daemon.keeper.ports import Seen, Usage
from edge_daemon.keeper.slope import MOST_SAMPLES
from edge_daemon.keeper.standing import Counts, Standing, reported
from edge_daemon.sealed import LimitValues
from fleet_protocol.documents import device
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import MAX_INTEGER

MIB = 1 << 20
LIMITS: LimitValues = {"memory_bytes": 64 * MIB, "cpu_millis": 100, "cpu_weight": 100, "pids": 20, "nofile": 64}
MOST_BYTES = 900


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallWorld]:
    monkeypatch.setattr(loop, "boottime", lambda: 0.0)
    made = SmallWorld(tmp_path)
    yield made
    made.db.close()


def test_the_largest_verdict_is_a_few_hundred_bytes_and_typed() -> None:
    full = Figures(10**9, 10**9, -(10**9), 10**9, 10**9, 123456789.1)
    counted = Counts(10**9, 10**9, 10**9, 10**9)
    told = reported(Standing("inconclusive", "\u20ac" * 5000, "f" * 64, 315360000, counted, "cannot-start", full, full))

    assert len(strict_json.dumps(told)) <= MOST_BYTES
    assert device.Verdict.from_value(told).now is not None
    usual = Figures(12, 30, 3, 0, 6, 0.0)
    short = reported(Standing("good", "", "f" * 64, 60, Counts(), "", usual, usual))
    assert len(strict_json.dumps(short)) <= 500


def test_every_figure_has_its_place_in_the_document() -> None:
    assert set(Figures._fields) == set(device.Figures.model_fields)
    assert set(reported(Standing("bad", "x", "f" * 64, 1, Counts(), "oom", Figures(1), Figures(1)))) == set(
        device.Verdict.model_fields
    )


def test_what_is_not_known_is_none_and_never_0() -> None:
    told = device.Verdict.from_value(reported(Standing("trial", "soak", "f" * 64, 60, Counts(), now=Figures())))

    assert told.now is None
    assert device.Verdict.from_value({"state": "good"}).restarts is None
    assert known_only(Figures(memory_percent=0)) == {"memory_percent": 0}
    assert worst([]) == Figures()


def seen(ticks: int = 100) -> Seen:
    return Seen("shop", "web", "r", 7, 1.0, ticks, None, None, oom_killed=False)


def used(**numbers: Any) -> Usage:
    return Usage(None, None, None, None, None, None)._replace(**numbers)


def test_a_gauge_tells_its_figures_against_the_limits() -> None:
    gauge = Gauge("r", 100.0, 1)
    for n in range(40):
        now = 100.0 + n * 10
        reading = used(memory_anon_bytes=(8 + n % 2) * MIB, memory_peak_bytes=32 * MIB, pids=1 + n % 5,
                       throttled_usec=int(n * 10e6 // 4))  # fmt: skip
        gauge.note(seen(), reading, LIMITS, 99.0, now, 60)

    assert len(gauge.samples) == MOST_SAMPLES
    assert gauge.figures(LIMITS, 2, 100.0 + 3600) == Figures(14, 50, 0, 25, 25, 1.0)
    assert gauge.figures(LIMITS, 2, 130.0).restarts_per_h is None, "too short a time is no rate"


def test_another_run_begins_its_samples_anew_and_keeps_its_peaks() -> None:
    gauge = Gauge("r", 0.0, 0)
    gauge.note(seen(), used(memory_anon_bytes=MIB, pids=9), LIMITS, 0.0, 1.0, 60)
    gauge.note(seen(200), used(pids=1), LIMITS, 2.0, 3.0, 60)

    assert gauge.samples == []
    assert gauge.figures(LIMITS, 0, 4.0) == Figures(pids_percent=45)


def test_a_host_that_measures_nothing_has_no_figures() -> None:
    gauge = Gauge("r", 0.0, 0)
    for n in range(20):
        gauge.note(seen(), used(), LIMITS, 0.0, float(n + 1), 60)

    assert gauge.figures(LIMITS, 0, 21.0) == Figures()
    assert gauge.slope is None


def test_another_revision_and_what_is_gone_are_forgotten() -> None:
    gauges = Gauges()
    first = gauges.of("shop", "web", "a", 0.0)
    assert gauges.of("shop", "web", "a", 5.0) is first
    assert gauges.find("shop", "web", "b") is None
    assert gauges.of("shop", "web", "b", 5.0) is not first
    gauges.forget("shop", {"web"})
    assert gauges.find("shop", "web", "b") is not None
    gauges.forget("shop")
    assert gauges.find("shop", "web", "b") is None


numbers = st.none() | st.integers(0, MAX_INTEGER)
some_figures = st.builds(
    Figures, numbers, numbers, st.none() | st.integers(-(10**6), 10**6), numbers, numbers,
    st.none() | st.floats(0, 1e6).map(lambda x: round(x, 1)),
)  # fmt: skip


@given(st.lists(some_figures, min_size=1, max_size=5))
def test_the_worst_is_one_of_them_and_unknown_only_where_all_are(of: list[Figures]) -> None:
    told = worst(of)
    for field in Figures._fields[:-1]:
        known = [getattr(one, field) for one in of if getattr(one, field) is not None]
        assert getattr(told, field) == (max(known) if known else None)


@given(some_figures)
def test_what_is_kept_is_read_back(figures: Figures) -> None:
    assert of_text(as_text(figures)) == (figures if known_only(figures) else None)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "{}"])
def test_what_cannot_be_read_back_is_unknown(text: str) -> None:
    assert of_text(text) is None


def standing(world: SmallWorld, app: str) -> Standing:
    found = world.keeper.views[app].standing
    assert found is not None
    return found


def told(world: SmallWorld, kind: str) -> list[str]:
    return [str(event.text) for event in world.outbox.recent(10_000) if event.kind == kind]


def test_without_the_signal_a_trial_ends_inconclusive_takes_no_last_good_and_is_not_judged_again(
    world: SmallWorld,
) -> None:
    world.measures = False
    world.deliver({"shop": "1-good"})
    world.advance(3 * WINDOW_S)
    world.deliver({"shop": "2-good"}, memory_slope_percent_per_h=10)
    world.advance(2 * WINDOW_S)
    assert standing(world, "shop").state == "trial"
    world.advance(WINDOW_S + 60)

    assert (standing(world, "shop").state, standing(world, "shop").code) == ("inconclusive", "unmeasured")
    assert world.records.app("shop").good_release == "1-good"
    assert told(world, "app.inconclusive") == [
        (
            "shop 2-good ran whole for 10 s and runs on, but is not proven: the memory of web could not be measured; "
            "1-good stays its last good"
        )
    ]
    for _ in range(4):
        world.reboot()
        world.advance(20)
    assert world.runs("shop") == "2-good"
    assert standing(world, "shop").state == "inconclusive"
    world.deliver({"shop": "3-crash"})
    world.advance(60)
    assert world.runs("shop") == "1-good"


def test_with_no_other_last_good_it_is_what_the_app_goes_back_to_and_still_not_good(world: SmallWorld) -> None:
    world.measures = False
    world.deliver({"shop": "1-good"}, memory_slope_percent_per_h=10)
    world.advance(2 * WINDOW_S + 80)
    assert standing(world, "shop").state == "inconclusive"

    world.deliver({"shop": "2-crash"})
    world.advance(60)

    assert world.runs("shop") == "1-good"
    assert standing(world, "shop").state == "bad"
    assert standing(world, "shop").code == "restarts"
    assert standing(world, "shop").counts == Counts(restarts=1, exits=1)


def test_a_group_that_went_down_twice_says_so_once(world: SmallWorld) -> None:
    world.deliver({"shop": "1-good", "till": "1-good"}, group=["shop", "till"])
    world.advance(4 * WINDOW_S)
    world.deliver({"shop": "2-good", "till": "2-good"}, group=["shop", "till"])
    for _ in range(2):
        world.advance(WINDOW_S / 2)
        world.reboot()
    world.advance(4 * WINDOW_S)

    assert (world.runs("shop"), world.runs("till")) == ("1-good", "1-good")
    assert told(world, "app.quarantined") == [
        (
            "shop 2-good is not started on this host any more: the host went down twice while it was on trial; "
            "1-good takes its place"
        ),
        "till 2-good is not started on this host any more: it moves together with shop 2-good; 1-good takes its place",
    ]
    assert sum("went down twice" in text for text in told(world, "app.returned")) == 1
    assert (standing(world, "shop").code, standing(world, "till").code) == ("host-down", "group")


CODES = {
    "crash": "restarts", "oom": "oom", "panic": "host-down", "hang": "unhealthy", "unready": "not-ready",
    "leak": "leak",
}  # fmt: skip


@pytest.mark.parametrize("kind", CODES)
def test_each_way_to_fail_has_its_code_and_its_words(world: SmallWorld, kind: str) -> None:
    world.deliver({"shop": "0-good"}, memory_slope_percent_per_h=SLOPE)
    world.advance(3 * WINDOW_S)
    world.deliver({"shop": f"1-{kind}"}, memory_slope_percent_per_h=SLOPE)
    world.advance(60 + 4 * WINDOW_S)

    found = standing(world, "shop")
    assert (found.state, found.code) == ("bad", CODES[kind])
    assert world.runs("shop") == "0-good"
    assert device.Verdict.from_value(reported(found)).reason == found.reason
    assert found.before is not None
    assert found.before.memory_percent == 6
    (quarantined,) = told(world, "app.quarantined")
    assert found.reason in quarantined


def test_a_release_that_is_not_ready_is_never_started_again_for_it(world: SmallWorld) -> None:
    world.deliver({"shop": "1-unready"}, memory_slope_percent_per_h=SLOPE)
    world.advance(20 * WINDOW_S)

    assert world.starts == [("shop", "1-unready")]
    assert told(world, "probe.failed") == []
    assert standing(world, "shop").state == "failed"
    assert standing(world, "shop").counts == Counts()


def test_the_verdict_lives_over_restarts_of_the_daemon_and_reboots(world: SmallWorld) -> None:
    world.deliver({"shop": "0-good"}, memory_slope_percent_per_h=SLOPE)
    world.advance(3 * WINDOW_S)
    world.deliver({"shop": "1-hang"}, memory_slope_percent_per_h=SLOPE)
    world.advance(60)
    before = standing(world, "shop")
    assert before.state == "bad"

    for again in (world.restart, world.reboot):
        again()
        world.advance(5)
        assert standing(world, "shop") == before
