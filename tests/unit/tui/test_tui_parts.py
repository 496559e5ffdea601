"""Columns, the inbox, the frame around a page, and answers that are not as expected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tui_support import NOW, a_rollout, a_view, a_wave

from tui.model.line import Piece, crop, length, line, plain, spread
from tui.model.link import Link
from tui.model.rollouts import rollout
from tui.model.rows import DeviceRow, device_row, enrolment, fleet, happening
from tui.model.world import Batch, World
from tui.pages import device, devices, lists, overview
from tui.pages import rollout as rollout_page
from tui.pages.body import View
from tui.pages.columns import cells, heading, place
from tui.source.inbox import Inbox
from tui.term import frame
from tui.term.skins import SKINS, STATES, choose

said = st.text("ab1 =\x1b\u202e東\n", max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | said,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(said, inner, max_size=3),
    max_leaves=8,
)
FIELDS = (*a_view(), *a_rollout(), *a_wave("a", "open", 1), "app", "services", "limits", "text", "at", "cause")


def a_world(count: int = 100, **over: Any) -> World:
    world = World("lab", now=NOW, link=Link("live", NOW), **over)
    world.take(Batch(devices=tuple(device_row(a_view(n)) for n in range(count))))
    return world


@pytest.mark.parametrize("width", range(60, 240, 7))
@pytest.mark.parametrize("wide", [False, True])
def test_a_row_is_as_wide_as_its_heading_and_never_wider_than_the_screen(width: int, wide: bool) -> None:
    placed = place(devices.columns(NOW, wide=wide, longest=14), width)
    row = device_row(a_view(3))
    assert length(cells(placed, row)) == length(heading(placed)) < width
    assert [c.column.title for c in placed][:3] == ["NAME", "STATE", "WHY"]


def test_columns_go_by_priority_and_why_takes_what_is_left() -> None:
    at = {
        w: {c.column.title: c.width for c in place(devices.columns(NOW, wide=w > 100, longest=13), w)}
        for w in (60, 80, 190)
    }
    assert at[60] == {"NAME": 14, "STATE": 10, "WHY": 22, "SEEN": 4}
    assert at[80] == {"NAME": 16, "STATE": 10, "WHY": 28, "RUNS": 10, "SEEN": 4}
    assert list(at[190]) == ["NAME", "STATE", "WHY", "SITE", "RUNS", "MEM", "SEEN", "GEN", "FLEETS", "LABELS"]


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=12))
def test_an_answer_of_any_shape_can_be_looked_at(answer: dict[str, Any]) -> None:
    name = device_row(answer).name
    world = World("lab", now=NOW, link=Link("live", NOW))
    world.take(
        Batch(
            devices=(device_row(answer),), fleets=(fleet(answer),), enrolments=(enrolment(answer),),
            events=(happening(answer),), rollouts=(rollout(answer),), details=answer,
        )
    )  # fmt: skip
    ident = world.rollouts[0].ident if world.rollouts else ""
    for made in (
        overview.body(world, View(), 80, 20), devices.body(world, View(), 80, 20),
        device.body(world, View(about=name), 80, 20), rollout_page.body(world, View(about=ident), 80, 20),
        lists.events(world, View(), 80, 20), lists.fleets(world, View(), 80, 20),
        lists.enrolments(world, View(), 80, 20), lists.raw(world, View(about=name), 80, 20),
    ):  # fmt: skip
        for number in range(made.count()):
            assert plain(made.line(number)).isprintable()


def test_a_rollout_of_fifty_waves_is_as_high_as_one_of_eight() -> None:
    waves = [a_wave(f"w{n}", "passed" if n < 20 else "waiting", 10) for n in range(50)]
    world = a_world()
    heights = set()
    for shown in (waves[:9], waves[:20], waves):
        world.rollouts = (rollout(a_rollout(waves=shown)),)
        heights.add(rollout_page.body(world, View(about="r-7f3k"), 80, 19).count())
    assert max(heights) <= 19
    world.rollouts = (rollout(a_rollout(waves=waves)),)
    body = rollout_page.body(world, View(about="r-7f3k"), 80, 19)
    said = [plain(body.line(n)).split()[:2] for n in range(body.count())]
    shown = [
        words for words in said if words[1:] and words[0] != "next:" and (words[1].startswith("w") or words[0] == "...")
    ]
    around = [[f"{n}", f"w{n - 1}"] for n in (20, 21, 22)]
    assert shown == [["1", "w0"], ["2", "w1"], ["...", "17"], *around, ["...", "27"], ["50", "w49"]]


def test_the_inbox_holds_the_newest_of_each_device_and_wakes_once() -> None:
    woken: list[int] = []
    inbox = Inbox(lambda: woken.append(1))
    row = device_row(a_view(0))
    for number in range(1000):
        inbox.put(Batch(changed=(row._replace(memory=number),)))
    inbox.put(Batch(gone=("other",), who=("ops", "viewer")))
    inbox.put(Batch())
    assert woken == [1]
    assert inbox.take() == Batch(changed=(row._replace(memory=999),), gone=("other",), who=("ops", "viewer"))
    assert inbox.take() is None


def test_a_device_that_went_and_came_back_is_there() -> None:
    inbox = Inbox(lambda: None)
    row = device_row(a_view(0))
    for batch in (Batch(devices=()), Batch(changed=(row,)), Batch(gone=(row.name,)), Batch(changed=(row,))):
        inbox.put(batch)
    assert inbox.take() == Batch(devices=(), changed=(row,))


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (Link(), "… connecting"),
        (Link("live", NOW - 2), "● live"),
        (Link("live", NOW - 75), "○ 01:15 old"),
        (Link("lost", NOW - 50, NOW - 41, 3, "refused"), "✗ no server 00:41"),
    ],
)
def test_the_top_line_says_whether_it_is_live(link: Link, said: str) -> None:
    world = a_world(1)
    world.link = link
    assert said in plain(frame.top(world, "Devices", "", 80))
    assert length(frame.top(world, "Devices", "x" * 200, 80)) <= 80


def test_the_banner_says_since_when_why_and_what_still_works() -> None:
    world = a_world(1)
    assert frame.banner(world, 80) == ()
    world.link = Link("lost", NOW - 50, NOW - 41, 3, "connection refused")
    first, second = (plain(text) for text in frame.banner(world, 120))
    assert "connection refused" in first
    assert "read-only" in second
    world.link = world.link._replace(final=True, why="the token is not known")
    assert "THE SERVER REFUSES (the token is not known" in plain(frame.banner(world, 120)[0])


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_help_and_quit_are_always_in_the_last_line(width: int) -> None:
    for page in ("devices", "rollout", "overview"):
        text, hits = frame.foot(page, a_world(1), "1-18 of 10,240", "", width)
        assert length(text) <= width
        assert [h.action for h in hits][-2:] == ["page help", "quit"]
        for hit in hits:
            assert plain(text)[hit.start : hit.end].strip() == plain(text)[hit.start : hit.end]


def test_lines_are_cut_and_spread_by_cells() -> None:
    wide = line("東京", Piece("tower", "x"))
    assert plain(crop(wide, 3)) == "東…"
    assert plain(spread(line("left"), line("right"), 12)) == "left   right"
    assert plain(spread(line("left" * 9), line("right"), 12)) == "leftl… right"


@pytest.mark.parametrize(
    ("environment", "wanted", "skin"),
    [
        ({"NO_COLOR": "1"}, "dark", "mono"),
        ({}, "deuteranopia", "deuteranopia"),
        ({"COLORTERM": "truecolor"}, None, "dark"),
        ({"TERM": "xterm-256color"}, None, "dark"),
        ({"TERM": "xterm"}, None, "ansi"),
    ],
)
def test_no_color_rules_then_the_wish_then_the_terminal(
    environment: dict[str, str], wanted: str | None, skin: str
) -> None:
    assert choose(wanted, environment) == skin


def test_sick_and_well_differ_without_colour_and_in_each_skin() -> None:
    for skin in SKINS.values():
        assert skin.style("failed") != skin.style("ok")
        assert skin.style("degraded") != skin.style("ok")
        assert set(STATES) <= skin.styles.keys()
    for style in SKINS["mono"].styles.values():
        assert style.color is style.bgcolor is None
    for style in SKINS["ansi"].styles.values():
        assert style.color is None or style.color.number is None or style.color.number < 16
    blind = SKINS["deuteranopia"]
    assert blind.style("ok").color != SKINS["dark"].style("ok").color


def test_a_row_keeps_equal_words_once() -> None:
    first, second = (device_row(a_view(n)) for n in (0, 1))
    assert isinstance(first, DeviceRow)
    assert first.labels is second.labels
