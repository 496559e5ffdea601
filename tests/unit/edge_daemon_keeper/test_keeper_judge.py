"""The trial of a new revision: every rule as a row, and what holds for every trial there can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.judge import (
    FOREVER,
    PATIENCE_CAP_S,
    Bad,
    Facts,
    Good,
    Hold,
    Inconclusive,
    Trial,
    Verdict,
    judge,
    patience,
    seconds,
    times,
)  # fmt: skip
from edge_daemon.keeper.slope import Slope

WEB = Facts("web", up_since=100.0)
DB = Facts("db", up_since=103.0)


def trial(*services: Facts, **over: object) -> Trial:
    return Trial(begun=100.0, window_s=60.0, max_restarts=0, services=services)._replace(**over)  # type: ignore[arg-type]


TABLE: list[tuple[str, Trial, float, Verdict]] = [
    ("a whole window makes it good", trial(WEB), 160.0, Good()),
    ("before its end it soaks", trial(WEB), 112.0, Hold(160.0, "soak 10 s of 60 s")),
    ("the window counts from the youngest", trial(WEB, DB), 162.0, Hold(163.0, "soak 50 s of 60 s")),
    ("what began before the trial soaks from its begin", trial(WEB._replace(up_since=5.0)), 159.0,
     Hold(160.0, "soak 50 s of 60 s")),
    ("an app of completed services only is good after its window", trial(Facts("migrate", completed=True)), 160.0,
     Good()),
    ("what has not been started yet is not judged", trial(WEB._replace(restarts=9), begun=None), 9999.0,
     Hold(FOREVER, "it has not been started yet")),
    ("one restart too many is bad at once", trial(WEB._replace(restarts=1)), 101.0,
     Bad("web ended by itself", "restarts")),
    ("restarts of all services count together",
     trial(WEB._replace(restarts=2), DB._replace(restarts=1), max_restarts=2), 104.0,
     Bad("web, db ended by itself 3 times, 2 allowed", "restarts")),
    ("allowed restarts are not bad", trial(WEB._replace(restarts=2), max_restarts=2), 160.0, Good()),
    ("killed for memory is bad, whatever restarts are allowed",
     trial(WEB._replace(oom_kills=2, restarts=2), max_restarts=9), 101.0,
     Bad("web was killed for memory twice", "oom")),
    ("given up is bad", trial(Facts("web", gave_up=3), max_restarts=9), 101.0,
     Bad("web ended with exit code 3 and is not started again", "gave-up")),
    ("what can never be started is bad", trial(Facts("web", stuck="no such program")), 100.5,
     Bad("web cannot be started: no such program", "cannot-start")),
    ("what does not run yet has the window and a minute", trial(Facts("web")), 219.0,
     Hold(220.0, "web does not run yet")),
    ("and no longer", trial(Facts("web")), 220.0, Bad("web did not run 2 min after the start", "absent")),
    ("a keeper that was away has it again", trial(Facts("web"), watched_since=500.0), 619.0,
     Hold(620.0, "web does not run yet")),
    ("its absence does not lengthen the window", trial(WEB, watched_since=150.0), 160.0, Good()),
    ("a long window allows as much again", trial(Facts("web"), window_s=600.0), 1299.0,
     Hold(1300.0, "web does not run yet")),
    ("what was there before must have ended", trial(WEB, alone=False), 150.0, Hold(220.0, "it does not run yet")),
    ("an unhealthy probe whose restart is one too many is bad",
     trial(WEB._replace(probe="unhealthy", ill="http :80/ answered 500")), 120.0,
     Bad("web was not healthy: http :80/ answered 500", "unhealthy")),
    ("one that may restart still has until the end", trial(WEB._replace(probe="unhealthy"), max_restarts=1), 120.0,
     Hold(160.0, "soak 20 s of 60 s")),
    ("unhealthy at the end is bad", trial(WEB._replace(probe="unhealthy"), max_restarts=1), 160.0,
     Bad("web was not healthy at the end of its window", "unhealthy")),
    ("healthy at the end is good", trial(WEB._replace(probe="healthy")), 160.0, Good()),
    ("a probe that has said nothing is waited for",
     trial(WEB._replace(probe="silent", speaks_within_s=30.0)), 249.0,
     Hold(250.0, "the probe of web has said nothing yet")),
    ("but not for ever, and never good",
     trial(WEB._replace(probe="silent", speaks_within_s=30.0)), 250.0,
     Inconclusive("the probe of web could not be asked", "silent")),
    ("one that is not ready has as long again", trial(WEB._replace(probe="unready", ill="answered 503")), 160.0,
     Hold(220.0, "web is not ready: answered 503")),
    ("and no longer", trial(WEB._replace(probe="unready", ill="answered 503")), 220.0,
     Bad("web was not ready long after its window: answered 503", "not-ready")),
    ("a keeper that was away waits anew", trial(WEB._replace(probe="unready"), watched_since=500.0), 559.0,
     Hold(560.0, "web is not ready")),
    ("with nothing to go back to one waits for it to be ready", trial(WEB._replace(probe="unready"), pardoned=True),
     9999.0, Hold(FOREVER, "web is not ready")),
    ("memory that grows too fast is bad at the end",
     trial(WEB._replace(slope=Slope(40.4, certain=True)), most_slope=10), 160.0,
     Bad("web takes more and more memory: 40% of its limit per hour, 10% allowed", "leak")),
    ("and not before", trial(WEB._replace(slope=Slope(40.4, certain=True)), most_slope=10), 150.0,
     Hold(160.0, "soak 50 s of 60 s")),
    ("nobody minds where the release says nothing",
     trial(WEB._replace(slope=Slope(40.4, certain=True))), 160.0, Good()),
    ("as fast as is allowed is good",
     trial(WEB._replace(slope=Slope(10.0, certain=True)), most_slope=10), 160.0, Good()),
    ("a growth that may be chance is looked at longer",
     trial(WEB._replace(slope=Slope(40.4, certain=False)), most_slope=10), 160.0,
     Hold(220.0, "the memory of web is measured")),
    ("but not for ever", trial(WEB._replace(slope=Slope(40.4, certain=False)), most_slope=10), 220.0,
     Inconclusive("the window is too short to tell how fast the memory of web grows", "unmeasured")),
    ("memory that was not measured is waited for", trial(WEB, most_slope=10), 160.0,
     Hold(220.0, "the memory of web is measured")),
    ("and is never good", trial(WEB, most_slope=10), 220.0,
     Inconclusive("the memory of web could not be measured", "unmeasured")),
    ("what has completed leaks no more", trial(Facts("migrate", completed=True), most_slope=10), 160.0, Good()),
    ("with nothing to go back to a leak is only said",
     trial(WEB._replace(slope=Slope(40.4, certain=True)), most_slope=10, pardoned=True), 160.0,
     Hold(FOREVER, "web takes more and more memory: 40% of its limit per hour, 10% allowed")),
    ("with nothing to go back to, what was before is forgiven by a whole window",
     trial(WEB._replace(restarts=5, oom_kills=2), pardoned=True), 160.0, Good()),
    ("but not while the kernel kills in what runs now",
     trial(WEB._replace(oom_kills=2, oom_kills_now=1), pardoned=True), 160.0,
     Hold(FOREVER, "a process of web was killed for memory")),
    ("nor while it does not run", trial(Facts("web", restarts=5), pardoned=True), 9999.0,
     Hold(FOREVER, "web does not run")),
    ("nor while it is not healthy", trial(WEB._replace(probe="unhealthy"), pardoned=True), 160.0,
     Hold(FOREVER, "web was not healthy at the end of its window")),
]  # fmt: skip


@pytest.mark.parametrize(("case", "now", "verdict"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_every_rule_of_the_trial(case: Trial, now: float, verdict: Verdict) -> None:
    assert judge(case, now) == verdict


moments = st.floats(0, 1e7)
counts = st.integers(0, 5)
facts = st.builds(
    Facts,
    name=st.sampled_from(["web", "db", "cache"]),
    up_since=st.none() | moments,
    completed=st.booleans(),
    gave_up=st.none() | st.integers(1, 255),
    stuck=st.sampled_from(["", "no such program"]),
    restarts=counts,
    oom_kills=counts,
    oom_kills_now=counts,
    probe=st.sampled_from(["none", "silent", "healthy", "unready", "unhealthy"]),
    speaks_within_s=st.floats(0, 1e4),
    slope=st.none() | st.builds(Slope, st.floats(-1000, 1000), st.booleans()),
)
trials = st.builds(
    Trial,
    begun=st.none() | moments,
    window_s=st.integers(1, 86400).map(float),
    max_restarts=counts,
    services=st.lists(facts, max_size=4).map(tuple),
    alone=st.booleans(),
    watched_since=moments,
    pardoned=st.booleans(),
    most_slope=st.none() | st.integers(0, 100),
)


@given(trials, moments)
def test_a_verdict_is_given_for_every_trial_and_a_hold_ends_later(case: Trial, now: float) -> None:
    verdict = judge(case, now)

    if isinstance(verdict, Hold):
        assert verdict.until > now
        assert verdict.why


@given(trials, moments)
def test_good_needs_a_whole_window_with_everything_up_and_no_probe_against_it(case: Trial, now: float) -> None:
    if judge(case, now) != Good():
        return
    assert case.alone
    assert case.begun is not None
    assert now >= case.begun + case.window_s
    for one in case.services:
        assert one.completed or (one.up_since is not None and now >= one.up_since + case.window_s)
        assert one.probe in ("none", "healthy")
        assert one.oom_kills_now == 0
        assert case.pardoned or one.oom_kills == 0
        if case.most_slope is not None and not one.completed:
            assert one.slope is not None
            assert one.slope.percent_per_h <= case.most_slope


@given(trials, moments)
def test_where_there_is_nothing_to_go_back_to_nothing_is_bad(case: Trial, now: float) -> None:
    assert not isinstance(judge(case._replace(pardoned=True), now), Bad)


@given(trials, moments, st.floats(0, 1e7))
def test_while_nothing_changes_time_alone_never_mends_what_is_bad(case: Trial, now: float, later: float) -> None:
    if isinstance(judge(case, now), Bad):
        assert isinstance(judge(case, now + later), Bad)


@given(trials, moments)
def test_looking_again_when_it_says_so_ends_every_hold_that_time_can_end(case: Trial, now: float) -> None:
    for _ in range(3):
        verdict = judge(case, now)
        if not isinstance(verdict, Hold) or verdict.until == FOREVER:
            return
        now = verdict.until
    pytest.fail("it holds for ever")


@given(st.integers(0, 100_000))
def test_patience_grows_and_saturates(tries: int) -> None:
    assert 0 <= patience(tries) <= patience(tries + 1) <= PATIENCE_CAP_S


def test_the_first_two_boots_are_not_waited_for() -> None:
    assert [patience(tries) for tries in range(5)] == [0, 0, 60, 120, 240]


def test_counts_and_lengths_read_like_words() -> None:
    assert [times(n) for n in (1, 2, 3)] == ["", " twice", " 3 times"]
    assert [seconds(s) for s in (90, 600, 7200)] == ["90 s", "10 min", "2 h"]
