"""Foreign strings, widths and ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.model.text import age, amount, countdown, cut, fit, safe, span, width_of


@given(st.text())
def test_nothing_that_a_device_says_can_steer_a_terminal(text: str) -> None:
    made = safe(text)
    assert made.isprintable()
    assert len(made) <= 600


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[2Jgone", "\ufffd[2Jgone"),
        ("\x9b31mred", "\ufffd31mred"),
        ("a\u202eb", "a\ufffdb"),
        ("two\nlines\ttab", "two\ufffdlines\ufffdtab"),
        ("[bold]markup[/]", "[bold]markup[/]"),
        ("z\u0335a\u0336lgo", "zalgo"),
        ("caf\u0065\u0301", "café"),
        ("\ud800", "\ufffd"),
    ],
)
def test_control_bidirectional_and_combining_characters_are_made_inert(said: str, shown: str) -> None:
    assert safe(said) == shown


@given(st.text(), st.integers(0, 40))
def test_a_cell_is_exactly_as_wide_as_it_is_to_be(text: str, width: int) -> None:
    assert width_of(fit(safe(text), width)) == width
    assert width_of(cut(safe(text), width)) <= width


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "<1m"), (59, "<1m"), (60, "1m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")]
)
def test_ages_are_coarse(seconds: float, said: str) -> None:
    assert span(seconds) == said
    assert age(1000, 1000 + seconds) == said


def test_what_never_was_has_no_age() -> None:
    assert age(0, 5) == age(None, 5) == "-"


@pytest.mark.parametrize(
    ("count", "said"), [(None, "-"), (0, "0"), (1536, "1.5Ki"), (64 << 20, "64Mi"), (5 << 40, "5120Gi")]
)
def test_bytes_in_few_letters(count: float | None, said: str) -> None:
    assert amount(count) == said


def test_a_countdown_never_goes_below_zero() -> None:
    assert (countdown(250), countdown(-3), countdown(3 * 3600)) == ("4:10", "0:00", "3h")
