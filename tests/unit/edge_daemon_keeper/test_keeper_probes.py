"""The judging of probes: its table, its rules, and what holds for every sequence of answers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.probes import (
    BAD,
    EARLY,
    ENOUGH,
    GOOD,
    HEALTHY,
    LASTED,
    MOST_AT_ONCE,
    NEXT,
    STARTING,
    UNHEALTHY,
    UNKNOWN,
    Health,
    Result,
    Rule,
    after,
    begin,
    next_due,
    rule_of,
    status_of,
    turn_of,
    why,
)

RULE = Rule("tcp", port=80, every_s=10, timeout_s=3, start_period_s=0, failures=3)


def run(rule: Rule, answers: str, *, started: float = 100.0, at: float | None = None) -> list[Health]:
    """Each answer (g, b or u) comes when it is due."""
    health = begin(rule, started, started if at is None else at)
    out = [health]
    for letter in answers:
        result = {"g": Result(GOOD), "b": Result(BAD, "refused the connection"), "u": Result(UNKNOWN, "?")}[letter]
        health = after(rule, health, result, started=started, now=health.due)
        out.append(health)
    return out


def test_every_state_has_a_cell_for_every_event() -> None:
    assert set(NEXT) == {STARTING, HEALTHY, UNHEALTHY}
    for row in NEXT.values():
        assert set(row) == {LASTED, GOOD, EARLY, BAD, ENOUGH, UNKNOWN}
        assert set(row.values()) <= set(NEXT)


def test_a_good_answer_soon_after_the_start_makes_it_healthy() -> None:
    first, then = run(RULE, "g")

    assert (first.state, first.due) == (STARTING, 100.5)
    assert (then.state, then.due) == (HEALTHY, 110.5)


def test_bad_answers_are_not_counted_within_the_first_interval() -> None:
    early = run(RULE, "bbbbbbbbb")

    assert {h.state for h in early} == {STARTING}
    assert {h.failures for h in early} == {0}
    assert early[-1].due > 108


def test_bad_answers_are_not_counted_in_the_start_period_and_it_is_asked_more_seldom_as_it_goes_on() -> None:
    rule = RULE._replace(start_period_s=60)
    states = run(rule, "b" * 60)
    counted = next(n for n, h in enumerate(states) if h.failures)

    assert states[counted - 1].due >= 160
    assert 20 < counted < 45
    pauses = [round(b.due - a.due, 6) for a, b in itertools.pairwise(states)]
    assert pauses[0] == 1.0
    assert max(pauses) == 10
    assert pauses == sorted(pauses)


def test_one_good_answer_ends_the_start_period() -> None:
    states = run(RULE._replace(start_period_s=600), "gbbb")

    assert [h.state for h in states] == [STARTING, HEALTHY, HEALTHY, HEALTHY, UNHEALTHY]


@pytest.mark.parametrize(
    ("answers", "state", "failures"),
    [
        pytest.param("gbb", HEALTHY, 2, id="fewer than the threshold"),
        pytest.param("gbbgbb", HEALTHY, 2, id="not in a row"),
        pytest.param("gbbb", UNHEALTHY, 3, id="the threshold"),
        pytest.param("gbbub", UNHEALTHY, 3, id="unknown between does not begin anew"),
        pytest.param("guuuuuuuu", HEALTHY, 0, id="unknown is not bad"),
        pytest.param("uuuuuuuu", STARTING, 0, id="unknown is not good"),
        pytest.param("gbbbbbb", UNHEALTHY, 3, id="the count saturates"),
        pytest.param("gbbbg", HEALTHY, 0, id="good again"),
    ],
)
def test_what_a_sequence_of_answers_means(answers: str, state: str, failures: int) -> None:
    last = run(RULE, answers)[-1]

    assert (last.state, last.failures) == (state, failures)


def test_it_must_be_good_for_its_time_and_without_a_gap() -> None:
    rule = RULE._replace(healthy_for_s=20)

    assert [h.state for h in run(rule, "ggg")] == [STARTING, STARTING, STARTING, HEALTHY]
    assert run(rule, "gugg")[-1].state == STARTING
    assert run(rule, "gbgg")[-1].state == STARTING


def test_one_that_an_earlier_keeper_started_is_asked_at_once_and_counted_at_once() -> None:
    states = run(RULE, "bbb", started=100.0, at=5000.0)

    assert states[0].due == 5000.0
    assert states[-1].state == UNHEALTHY


def test_a_reason_names_the_question_the_answer_and_the_count() -> None:
    states = run(Rule("http", port=80, path="/health"), "gb")

    assert why(RULE, states[0]) == "its probe has not been good for long enough yet"
    assert why(RULE, states[1]) == ""
    assert why(Rule("http", port=80, path="/health"), states[2]) == (
        "http :80/health refused the connection (1 of 3 failures)"
    )
    assert why(Rule("exec"), states[2]).startswith("its command refused")


def test_those_that_wait_longest_are_asked_first_and_never_more_than_allowed() -> None:
    waiting = [(float(n), ("app", f"s{n}")) for n in range(9, 0, -1)]

    assert turn_of(waiting, 0, now=8.0) == [("app", "s1"), ("app", "s2"), ("app", "s3"), ("app", "s4")]
    assert turn_of(waiting, MOST_AT_ONCE - 1, now=8.0) == [("app", "s1")]
    assert turn_of(waiting, MOST_AT_ONCE, now=8.0) == []
    assert turn_of(waiting, 0, now=0.5) == []
    assert next_due([3.0, 2.0], 0) == 2.0
    assert next_due([3.0, 2.0], MOST_AT_ONCE) == float("inf")
    assert next_due([], 0) == float("inf")


@pytest.mark.parametrize(
    ("data", "result"),
    [
        pytest.param(b"", None, id="nothing yet"),
        pytest.param(b"HTTP/1.1 20", None, id="half a line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", Result(GOOD), id="ok"),
        pytest.param(b"HTTP/1.0 399\n", Result(GOOD), id="no words"),
        pytest.param(b"HTTP/1.0 302 Found\r\nLocation: http://x/\r\n", Result(GOOD), id="a redirection"),
        pytest.param(b"HTTP/1.0 400 Bad\r\n", Result(BAD, "answered 400"), id="client error"),
        pytest.param(b"HTTP/1.0 503 \r\n", Result(BAD, "answered 503"), id="server error"),
        pytest.param(b"HTTP/1.0 100 \r\n", Result(BAD, "answered 100"), id="informational"),
        pytest.param(b"SSH-2.0-x\r\n", Result(BAD, "did not answer in HTTP"), id="another protocol"),
        pytest.param(b"HTTP/1.1 +20 x\r\n", Result(BAD, "did not answer in HTTP"), id="no number"),
        pytest.param(b"\n", Result(BAD, "did not answer in HTTP"), id="an empty line"),
        pytest.param(b"\xff" * 64, Result(BAD, "did not answer in HTTP"), id="noise without an end"),
    ],
)
def test_what_the_first_line_of_an_http_answer_says(data: bytes, result: Result | None) -> None:
    assert status_of(data) == result


def test_sealed_values_become_a_rule_and_wild_ones_are_bounded() -> None:
    assert rule_of({"http_port": 80, "http_path": "/x", "every_s": 5}) == Rule("http", 80, "/x", every_s=5)
    assert rule_of({"tcp_port": 5432, "timeout_s": 1, "failures": 2}).question() == "tcp :5432"
    assert rule_of({"exec_args": ["true"], "every_s": 0, "timeout_s": 10**9, "failures": "x"}) == Rule(
        "exec", every_s=1, timeout_s=60
    )


rules = st.builds(
    Rule,
    st.just("tcp"),
    every_s=st.integers(1, 60),
    start_period_s=st.integers(0, 100),
    failures=st.integers(1, 5),
    healthy_for_s=st.integers(0, 100),
)


@given(rules, st.text(alphabet="gbu", max_size=40), st.floats(0, 1000))
def test_whatever_is_answered_time_goes_on_and_no_verdict_lacks_its_grounds(
    rule: Rule, answers: str, at: float
) -> None:
    states = run(rule, answers, started=100.0, at=100.0 + at)
    for n, (before, now) in enumerate(itertools.pairwise(states)):
        assert min(1.0, rule.every_s) <= round(now.due - before.due, 6) <= rule.every_s
        assert 0 <= now.failures <= rule.failures
        if now.state != before.state and now.state == UNHEALTHY:
            assert answers[: n + 1].replace("u", "").endswith("b" * rule.failures)
        if now.state != before.state and now.state == HEALTHY:
            assert answers[n] == "g"
        if "g" not in answers[: n + 1]:
            assert now.state != HEALTHY
        if "b" not in answers[: n + 1]:
            assert now.state != UNHEALTHY


@given(rules)
def test_what_is_always_good_becomes_healthy_and_what_is_always_bad_becomes_unhealthy(rule: Rule) -> None:
    assert run(rule, "g" * (int(rule.healthy_for_s // rule.every_s) + 2))[-1].state == HEALTHY
    assert run(rule, "b" * 250)[-1].state == UNHEALTHY
