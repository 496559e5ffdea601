from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_release.compose.interpolate import DollarError, NotSetError, interpolate, parse_dotenv

ENV = {"A": "one", "EMPTY": "", "B": "two"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A-${B}", "one-two"),
        ("$$A", "$A"),
        ("${X:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:-d}", "one"),
        ("${A:+r}", "r"),
        ("${EMPTY:+r}", ""),
        ("${EMPTY+r}", "r"),
        ("${X:-${Y:-$A}}", "one"),
        ("${A:-${NOBODY}}", "one"),
        ("${A:?wanted}", "one"),
        ("${X:-}", ""),
        ("a}b", "a}b"),
    ],
)
def test_variables_are_replaced_as_compose_does_it(text: str, value: str) -> None:
    assert interpolate(text, ENV) == value


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("${X}", NotSetError, "the variable X is not set"),
        ("$X", NotSetError, "the variable X is not set"),
        ("${X:?give a tag}", NotSetError, "X must be set: give a tag"),
        ("${EMPTY:?}", NotSetError, "EMPTY must be set: the file requires it"),
        ("cost: 5$", DollarError, "nothing known follows the dollar sign in 'cost: 5$'"),
        ("${A", DollarError, "'' cannot follow ${A"),
        ("${A:-x", DollarError, "${ is never closed by a brace"),
        ("${-x}", DollarError, "no variable's name follows ${ in '${-x}'"),
        ("${A!x}", DollarError, "'!x' cannot follow ${A"),
    ],
)
def test_what_cannot_be_replaced_is_said(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        interpolate(text, ENV)
    assert str(caught.value) == says


@given(st.text(alphabet="${}:-?+AX ", max_size=30))
def test_any_text_is_replaced_or_refused_and_never_crashes(text: str) -> None:
    with contextlib.suppress(NotSetError, DollarError):
        interpolate(text, ENV)


def test_a_dotenv_file_is_read_with_quotes_comments_and_earlier_lines() -> None:
    text = "# c\nexport A=1\nB='$A # raw'\nC=\"x\\n${A}\" # c\nD=$A/2 # c\nE\nF=\n"
    assert parse_dotenv(text, {}) == {"A": "1", "B": "$A # raw", "C": "x\n1", "D": "1/2", "E": None, "F": ""}


@pytest.mark.parametrize(
    ("text", "says"),
    [("A=1\nno equals sign", "line 2 is not NAME=value"), ("A='x", "line 1: a quote is never closed on its line")],
)
def test_a_dotenv_line_that_means_nothing_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_dotenv(text, {})
