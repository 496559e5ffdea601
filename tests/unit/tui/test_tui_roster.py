"""Fifty thousand rows kept in order: whatever happens, the list is what sorting and filtering anew would give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tui_support import a_view

from tui.model.roster import SORTS, Changes, Roster
from tui.model.rows import DeviceRow, device_row
from tui.model.states import SYMBOLS


def a_row(name: str = "a", state: str = "ok", **over: Any) -> DeviceRow:
    return device_row(a_view())._replace(name=name, state=state, **over)


rows = st.builds(
    a_row,
    st.sampled_from("abcdefgh"),
    st.sampled_from(sorted(SYMBOLS)),
    seen=st.integers(0, 3),
    memory=st.integers(-1, 9),
)
steps = st.lists(st.one_of(rows, st.sampled_from("abcdefgh").map(lambda n: ("gone", n))), max_size=40)


@given(steps, st.sampled_from(sorted(SORTS)), st.booleans())
def test_the_order_is_that_of_sorting_anew(done: list[Any], sort: str, only_failed: bool) -> None:
    keep = (lambda r: r.state == "failed") if only_failed else None
    roster = Roster()
    roster.arrange(sort=sort, keep=keep)
    for step in done:
        roster.apply([], [step[1]]) if isinstance(step, tuple) and step[0] == "gone" else roster.apply([step])
        wanted = sorted((SORTS[sort](r), r.name) for r in roster.rows.values() if keep is None or keep(r))
        assert roster.names == [name for _, name in wanted]
        assert [roster.index(name) for name in roster.names] == list(range(len(roster.names)))
        assert {s: n for s, n in roster.counts.items() if n} == {
            s: sum(r.state == s for r in roster.rows.values()) for s in {r.state for r in roster.rows.values()}
        }


def test_a_change_that_moves_nothing_repaints_one_row() -> None:
    roster = Roster()
    roster.replace([a_row("a"), a_row("b")])
    assert roster.replace([a_row("a"), a_row("b", why="disk")]) == Changes(frozenset({"b"}))
    assert roster.replace([a_row("a"), a_row("b", why="disk")]) == Changes()


def test_a_row_that_no_longer_matches_leaves_the_list_and_stays_known() -> None:
    roster = Roster()
    roster.arrange(keep=lambda r: r.state == "failed")
    roster.replace([a_row("a", "failed"), a_row("b")])
    assert roster.names == ["a"]
    assert roster.apply([a_row("a", "ok")]).layout
    assert (roster.names, roster.index("a"), len(roster.rows)) == ([], None, 2)


def test_a_flood_and_its_end_are_sorted_once() -> None:
    roster = Roster()
    many = [a_row(f"n{n:05d}") for n in range(5000)]
    assert roster.replace(many) == Changes(layout=True)
    assert roster.names == [r.name for r in many]
    assert roster.replace([]) == Changes(layout=True)
    assert (roster.names, roster.rows) == ([], {})


@pytest.mark.parametrize("sort", list(SORTS))
def test_every_order_has_rows_that_lack_what_it_sorts_by_at_its_end(sort: str) -> None:
    roster = Roster()
    roster.arrange(sort=sort)
    bare = device_row({"device_id": "bare"})
    roster.replace([bare, a_row("whole", "failed", why="disk", memory=5, memory_limit=10, site="lyon")])
    assert set(roster.names) == {"bare", "whole"}
    if sort not in ("name", "seen"):
        assert roster.names == ["whole", "bare"]
