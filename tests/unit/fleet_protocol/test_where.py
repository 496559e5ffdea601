"""The grammar of filters and sort orders: tables, and properties over everything that can be typed."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_protocol.wire.where import (
    SortKey,
    Term,
    Where,
    WhereError,
    _like,
    number,
    parse_sort,
    parse_where,
    version_key,
)

DEVICE: dict[str, Any] = {
    "name": ["cam-lyon-0012"], "state": ["failed"], "fleet": ["cam-eu", "lab"], "site": ["lyon"], "gw": ["1.10.2"],
    "memory": [64 * 1024 * 1024], "silent": [400], "why": ["signature refused"], "health": ["95%"],
}  # fmt: skip


def look(field: str) -> Any:
    return DEVICE.get(field, ())


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("lyon", True),
        ("LYON 0012", True),
        ("oslo", False),
        ("!oslo", True),
        ("!lyon", False),
        ("site=lyon", True),
        ("site=lyon,oslo", True),
        ("site=oslo", False),
        ("site!=lyon", False),
        ("site!=oslo,paris", True),
        ("!site=oslo", True),
        ("!site!=lyon", True),
        ("fleet=lab", True),
        ("fleet!=lab", False),
        ("nothing=x", False),
        ("nothing!=x", True),
        ("nothing>1", False),
        ("nothing<1", False),
        ("name=cam-*", True),
        ("name=*-0012", True),
        ("name=c*lyon*2", True),
        ("name=*oslo*", False),
        ('why="signature refused"', True),
        ("why=signature*", True),
        ("gw>=1.9", True),
        ("gw<1.9", False),
        ("gw>1.10.2-rc1", True),
        ("memory>=64Mi", True),
        ("memory<64Mi", False),
        ("memory=64Mi", True),
        ("memory=lots", False),
        ("silent>5m", True),
        ("silent>1h", False),
        ("health>=90%", True),
        ("state=failed and site=lyon", True),
        ("state=failed  site=oslo", False),
    ],
)
def test_what_a_filter_means(text: str, holds: bool) -> None:
    assert parse_where(text).holds(look) is holds


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("site=", "a value is wanted", 5),
        ("=lyon", "a word or FIELD=VALUE is wanted", 0),
        ("site=lyon,", "a value is wanted", 10),
        ("site>1,2", "',' is not expected here", 6),
        ('why="half', "the quote is not closed", 4),
        ("!", "a word or FIELD=VALUE is wanted", 1),
        ("!!x", "a word or FIELD=VALUE is wanted", 1),
        ("a=b=c", "'=' is not expected here", 3),
        ("x" * 501, "501 characters, at most 500 are read", 500),
        (" ".join("x" * 17), "more than 16 conditions", 33),
        ("name=" + "*a" * 5, "more than 4 stars in one value", 15),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, words: str, at: int) -> None:
    with pytest.raises(WhereError) as error:
        parse_where(text)
    assert (error.value.reason, error.value.at) == (words, at)


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", ()), ("name", (SortKey("name"),)), ("-memory,site", (SortKey("memory", down=True), SortKey("site")))],
)
def test_sort_orders(text: str, keys: tuple[SortKey, ...]) -> None:
    assert parse_sort(text) == keys
    assert ",".join(map(str, keys)) == text


@pytest.mark.parametrize("text", [",", "-", "a,", "a b", "a,-a", "a,b,c,d,e"])
def test_sort_orders_that_cannot_be_read(text: str) -> None:
    with pytest.raises(WhereError):
        parse_sort(text)


def test_versions_are_ordered_as_people_do() -> None:
    ordered = ["0.9", "1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.0.1", "1.9.0", "1.10.0", "2"]
    assert sorted(sorted(ordered), key=version_key) == ordered


@pytest.mark.parametrize(
    ("text", "value"), [("64Mi", 64 * 2**20), ("5m", 300), ("-3.5", -3.5), ("1.2.3", None), ("", None)]
)
def test_numbers_with_units(text: str, value: float | None) -> None:
    assert number(text) == value


# --- properties

fields = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
values = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), max_size=12).filter(
    lambda v: v.count("*") <= 4
)
words = st.from_regex(r"[a-z0-9.*-]{1,12}", fullmatch=True).filter(lambda w: w != "and")
terms = st.one_of(
    st.builds(
        Term, fields, st.sampled_from(["=", "!="]), st.lists(values, min_size=1, max_size=3).map(tuple), st.booleans()
    ),
    st.builds(Term, fields, st.sampled_from([">", ">=", "<", "<="]), st.tuples(values), st.booleans()),
    st.builds(Term, st.just("name"), st.just(""), st.tuples(words), st.booleans()),
)
wheres = st.lists(terms, max_size=4).map(lambda t: Where(tuple(t)))
things = st.dictionaries(
    st.one_of(fields, st.just("name")),
    st.lists(st.one_of(st.text(max_size=8), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6)), max_size=2),
    max_size=5,
)


@given(wheres)
def test_a_filter_that_is_written_down_reads_as_the_same_filter(where: Where) -> None:
    assert parse_where(str(where)) == where


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused_in_one_sentence(text: str) -> None:
    try:
        where = parse_where(text)
    except WhereError as error:
        assert 0 <= error.at <= len(text)  # noqa: PT017
    else:
        assert parse_where(str(where)) == where


@given(st.text(alphabet='ab=!<>,"* 19.', max_size=30), things)
def test_every_filter_that_reads_holds_or_does_not(text: str, thing: dict[str, Any]) -> None:
    try:
        where = parse_where(text)
    except WhereError:
        return
    assert where.holds(lambda field: thing.get(field, ())) in (True, False)


@given(terms, things)
def test_a_term_and_its_opposite_never_agree(term: Term, thing: dict[str, Any]) -> None:
    def holds(some: Term) -> bool:
        return Where((some,)).holds(lambda field: thing.get(field, ()))

    assert holds(term) != holds(term._replace(negated=not term.negated))


@given(wheres, wheres, things)
def test_two_filters_together_hold_where_both_do(one: Where, two: Where, thing: dict[str, Any]) -> None:
    def holds(where: Where) -> bool:
        return where.holds(lambda field: thing.get(field, ()))

    assert holds(Where(one.terms + two.terms)) == (holds(one) and holds(two))


@given(st.text("ab", max_size=12), st.text("ab*", max_size=8).filter(lambda p: "*" in p))
def test_stars_match_as_everybodys_do(value: str, pattern: str) -> None:
    assert _like(value, pattern) == fnmatch.fnmatchcase(value, pattern)
