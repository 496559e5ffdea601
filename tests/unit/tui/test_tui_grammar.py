"""Commands, keys, history, the link: small tables that everything else reads."""

from __future__ import annotations

import pytest

from tui.model.commands import Command, complete, parse
from tui.model.history import History, Place
from tui.model.keys import FOOTERS, KEYS, action_of, footer, keys_of
from tui.model.link import RETRY_S, Link
from tui.term.app import MOVES, FleetApp
from tui.term.places import TITLES, leads_to


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", Command()),
        ("dev site=lyon", Command("devices", "site=lyon")),
        ("devices", Command("devices")),
        ("ro", Command("rollouts")),
        ("fl", Command("fleets")),
        ("ctx  prod-eu ", Command("ctx", "prod-eu")),
        ("device cam-1", Command("device", "cam-1")),
        ("th ansi", Command("theme", "ansi")),
        ("q", Command("quit")),
        ("o", Command("overview")),
        ("c x", Command(error="c is short for contexts and ctx")),
        ("fleeets", Command(error="no command fleeets; did you mean fleets?")),
        ("xyzzy", Command(error="no command xyzzy; ? lists the keys")),
    ],
)
def test_a_clear_beginning_is_a_command(typed: str, meant: Command) -> None:
    assert parse(typed) == meant


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("", None),
        ("ov", "overview"),
        ("ctx p", "ctx prod"),
        ("dev cam", None),
        ("device cam-", "device cam-1"),
        ("x", None),
    ],
)
def test_commands_and_names_are_completed(typed: str, whole: str | None) -> None:
    assert complete(typed, {"ctx": ["lab", "prod"], "device": ["cam-1", "cam-2"]}) == whole


@pytest.mark.parametrize("page", list(TITLES))
def test_a_key_does_one_thing_on_a_page(page: str) -> None:
    taken = [k.key for k in keys_of(page)]
    assert len(taken) == len(set(taken))
    assert not set(taken) & set(MOVES)


@pytest.mark.parametrize("key", KEYS, ids=lambda k: k.action)
def test_every_action_is_there_and_is_on_some_page(key: object) -> None:
    assert key in KEYS
    name = key.action.partition(" ")[0]  # type: ignore[attr-defined]
    assert callable(getattr(FleetApp, f"do_{name}"))
    assert set(key.pages) <= {*TITLES, "*"}  # type: ignore[attr-defined]


def test_what_changes_something_is_gone_while_nothing_may_be_changed() -> None:
    assert action_of("rollout", "A") == "abort"
    assert action_of("rollout", "A", writable=False) is None
    assert {k.action for k in KEYS if k.changes} == {"pause", "promote", "abort", "approve", "reject", "decommission"}


@pytest.mark.parametrize("page", list(FOOTERS))
def test_a_footer_names_keys_of_its_page_and_ends_with_help_and_quit(page: str) -> None:
    actions = [k.action for k in footer(page)]
    assert actions == [*FOOTERS[page], "page help", "quit"]


def test_history_goes_back_forward_and_up() -> None:
    history = History(Place("overview"))
    for place in (Place("devices"), Place("device", "cam-1"), Place("events", "cam-1")):
        history.go(place)
    assert history.older()
    assert history.here == Place("device", "cam-1")
    assert history.newer()
    assert not history.newer()
    assert history.back()
    assert history.here == Place("device", "cam-1")
    assert history.back()
    assert history.here == Place("events", "cam-1")
    history.go(Place("device", "cam-2"))
    assert history.up()
    assert history.here == Place("devices")
    assert history.up()
    assert history.here == Place("overview")
    assert not history.up()


def test_up_goes_to_the_list_as_it_was_narrowed() -> None:
    history = History(Place("overview"))
    history.go(Place("devices", "fleet cam-eu"))
    history.go(Place("device", "cam-1"))
    history.up()
    assert history.here == Place("devices", "fleet cam-eu")


@pytest.mark.parametrize(
    ("page", "key", "place"),
    [
        ("overview", "cause failed disk # full", Place("devices", "cause failed disk # full")),
        ("overview", "rollout r-1", Place("rollout", "r-1")),
        ("devices", "cam-1", Place("device", "cam-1")),
        ("fleets", "cam-eu", Place("devices", "fleet cam-eu")),
        ("rollout", "device cam-1", Place("device", "cam-1")),
        ("rollout", "wave canary", None),
    ],
)
def test_enter_goes_one_level_down(page: str, key: str, place: Place | None) -> None:
    assert leads_to(page, key) == place


def test_a_lost_server_is_tried_again_within_a_second_and_a_half_for_ever() -> None:
    link = Link().live(100.0)
    for number in range(1, 600):
        link = link.lost(110.0 + number, "refused")
        assert link.retry_in() <= 1.5
        assert (link.since, link.heard, link.tries) == (111.0, 100.0, number)
        assert not link.writable()
    assert [Link(tries=n).retry_in() for n in (1, 2, 3, 4, 99)] == [*RETRY_S, RETRY_S[-1]]
    assert link.live(900.0) == Link("live", 900.0)
