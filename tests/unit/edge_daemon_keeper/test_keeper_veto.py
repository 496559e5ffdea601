"""What an app's "not now" does: every state and event, its time over reboots and wrong clocks, and its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper import veto
from edge_daemon.keeper.hooks import Answer, answer_of
from edge_daemon.keeper.veto import AGREED, ASKING, EXPIRED, GO, HELD, REFUSED, Veto

DAY = 86400
NO_ANSWER = Answer(None, why="could not be run: the child process around it gave no answer")
NOON = 1_774_353_900  # 2026-03-24 12:05 UTC
ASKED = Veto("shop", "a" * 64, "b" * 64)
SAID_NO = veto.refused(ASKED, "recording", 6 * 3600.0, wall=NOON, boot="one", now=100.0)


@pytest.mark.parametrize(
    ("before", "event", "then"),
    [
        (ASKING, AGREED, GO), (ASKING, REFUSED, HELD), (ASKING, EXPIRED, GO),
        (HELD, AGREED, GO), (HELD, REFUSED, HELD), (HELD, EXPIRED, GO),
        (GO, AGREED, GO), (GO, REFUSED, GO), (GO, EXPIRED, GO),
    ],
)  # fmt: skip
def test_what_follows_from_an_answer(before: str, event: str, then: str) -> None:
    assert veto.after(ASKED._replace(state=before), event).state == then


def test_the_first_no_starts_its_time_and_a_later_one_changes_words_alone() -> None:
    assert (SAID_NO.state, SAID_NO.until_boottime, SAID_NO.ask_at) == (HELD, 100.0 + 6 * 3600, 160.0)
    assert veto.why(SAID_NO) == 'app veto: "recording", since 12:05 UTC, expires 18:05 UTC'

    later = veto.refused(SAID_NO, "still recording", 6 * 3600.0, wall=NOON + 60, boot="one", now=160.0)

    assert later == SAID_NO._replace(words="still recording", ask_at=220.0)


def test_a_no_that_comes_after_the_update_began_changes_nothing() -> None:
    begun = veto.after(SAID_NO, EXPIRED)
    assert veto.refused(begun, "recording", 60.0, wall=NOON, boot="one", now=9.0).state == GO


def test_an_app_that_says_nothing_is_quoted_with_something() -> None:
    assert veto.refused(ASKED, "", 60.0, wall=NOON, boot="one", now=0.0).words == "not now"


@pytest.mark.parametrize(
    ("boot", "wall", "left"),
    [
        pytest.param("one", NOON + 3600, 6 * 3600 + 0.0, id="in the same boot nothing changes"),
        pytest.param("two", NOON + 3600, 5 * 3600.0, id="in another boot the clock counts"),
        pytest.param("two", NOON + DAY, 0.0, id="what ended while the host was off is over"),
        pytest.param("two", 0, 6 * 3600.0, id="a clock that is behind gives no more than was left"),
    ],
)
def test_its_time_in_another_boot(boot: str, wall: int, left: float) -> None:
    found = veto.carried_over(SAID_NO, wall=wall, boot=boot, now=5.0)
    assert found.until_boottime - (100.0 if boot == "one" else 5.0) == left


@given(st.lists(st.floats(700, 3600), min_size=40, max_size=60))
def test_it_expires_also_on_a_host_that_has_no_clock_and_is_switched_off_every_hour(boots: list[float]) -> None:
    held = SAID_NO
    for number, length in enumerate(boots):
        held = veto.carried_over(held, wall=0, boot=f"boot {number}", now=0.0)
        for now in range(0, int(length), 60):
            held = veto.kept(held, float(now)) or held
        if length >= held.until_boottime:
            return
    raise AssertionError(f"it is still held after {sum(boots):.0f} s")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b'{"hook": {"status": 0, "said": ""}}', Answer(0)),
        (b'{"hook": {"status": 75, "said": "busy"}}', Answer(75, "busy", "ended with exit code 75: busy")),
        (b'{"hook": {"status": null, "said": "wait"}}', Answer(None, "wait", "did not end within 5 s")),
        (b'{"hook": {"status": 75, "said": "\\u001b[31mx"}}', Answer(75, "�[31mx", "ended with exit code 75: �[31mx")),
        (b'{"failed": {"reason": "no such file"}}', Answer(None, why="could not be run: no such file")),
        (b"", NO_ANSWER),
        (b"[]", NO_ANSWER),
        (b'{"hook": {"status": "75", "said": 1}}', NO_ANSWER),
    ],
)  # fmt: skip
def test_what_a_hook_answered(line: bytes, answer: Answer) -> None:
    assert answer_of(line, 5.0) == answer
