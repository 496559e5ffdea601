"""Releases that their signers took back: whatever the reason for which one would run, it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_world_support import WINDOW_S, SmallWorld

from edge_daemon.keeper import loop
from edge_daemon.keeper.report import app_state

A_WHILE = 40.0 + 2 * WINDOW_S


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallWorld]:
    monkeypatch.setattr(loop, "boottime", lambda: 5.0)
    made = SmallWorld(tmp_path)
    monkeypatch.setattr(loop, "boottime", lambda: made.now)
    made.deliver({"shop": "1-good", "blog": "1-good"})
    made.advance(A_WHILE)
    assert (made.runs("shop"), made.records.app("shop").good_release) == ("1-good", "1-good")
    yield made
    assert made.runs("blog") == "1-good"
    assert [start for start in made.starts if start[0] == "blog"] == [("blog", "1-good")] * (made.boots + 1)


def state(world: SmallWorld) -> tuple[str, str]:
    return app_state(world.keeper.views["shop"], world.records.app("shop"), {})


def test_the_desired_release_is_stopped_and_nothing_takes_its_place(world: SmallWorld) -> None:
    world.deliver({"shop": "2-good", "blog": "1-good"})
    world.advance(1.0)
    assert world.runs("shop") == "2-good"
    world.withdraw(shop="2-good")
    world.advance(A_WHILE)
    assert world.runs("shop") == ""
    assert state(world) == ("stopped", "2-good was withdrawn by its signers: leaks")
    world.reboot()
    world.advance(A_WHILE)
    assert world.runs("shop") == ""

    world.withdraw()
    world.advance(A_WHILE)
    assert world.runs("shop") == "2-good"


def test_a_last_good_that_runs_in_the_place_of_a_quarantined_release_is_stopped(world: SmallWorld) -> None:
    world.deliver({"shop": "2-crash", "blog": "1-good"})
    world.advance(A_WHILE)
    assert world.runs("shop") == "1-good"
    world.withdraw(shop="1-good")
    world.advance(A_WHILE)
    assert world.runs("shop") == ""
    said, why = state(world)
    assert said == "stopped"
    assert why.endswith("; 1-good was withdrawn by its signers: leaks")
    world.restart()
    world.advance(A_WHILE)
    assert world.runs("shop") == ""
    assert world.starts[-1] == ("shop", "1-good"), "neither it nor the quarantined release starts again"


def test_a_release_that_fails_does_not_return_to_a_withdrawn_last_good(world: SmallWorld) -> None:
    world.withdraw(shop="1-good")
    world.advance(1.0)
    world.deliver({"shop": "2-crash", "blog": "1-good"})
    world.advance(A_WHILE)
    assert {release for app, release in world.starts if app == "shop"} == {"1-good", "2-crash"}
    assert [release for app, release in world.starts if app == "shop"].count("1-good") == 1
    assert "app.quarantined shop" not in world.events()
    assert "app.failed shop" in world.events()
    row = world.records.trial("shop")
    assert row is not None
    assert "its last good 1-good was withdrawn by its signers: leaks" in str(world.outbox.recent(100))


def test_a_withdrawn_release_that_is_quarantined_leaves_the_last_good_running(world: SmallWorld) -> None:
    world.deliver({"shop": "2-crash", "blog": "1-good"})
    world.advance(A_WHILE)
    before = world.containers["shop"]
    world.withdraw(shop="2-crash")
    world.advance(A_WHILE)
    assert world.containers["shop"] == before


def test_a_held_release_is_stopped_its_hold_ends_and_the_desired_one_runs(world: SmallWorld) -> None:
    world.keeper.trials.hold(world.keeper.plans["shop"], 86400, world.now)
    world.keeper.replan("shop")
    world.deliver({"shop": "2-good", "blog": "1-good"})
    world.advance(A_WHILE)
    assert world.runs("shop") == "1-good"
    world.withdraw(shop="1-good")
    world.advance(A_WHILE)
    assert world.runs("shop") == "2-good"
    assert world.records.hold("shop") is None
    assert "app.released shop" in world.events()


def test_what_is_held_stays_when_the_desired_release_is_withdrawn_and_stops_with_the_hold(world: SmallWorld) -> None:
    world.keeper.trials.hold(world.keeper.plans["shop"], 60, world.now)
    world.keeper.replan("shop")
    world.deliver({"shop": "2-good", "blog": "1-good"})
    world.withdraw(shop="2-good")
    world.advance(30)
    assert world.runs("shop") == "1-good"
    world.advance(A_WHILE)
    assert world.runs("shop") == ""


def test_what_runs_on_because_nothing_can_be_read_is_stopped_when_it_was_withdrawn(world: SmallWorld) -> None:
    """The desired revision is damaged before it ever started, and so is the last good, which runs on."""
    running = world.containers["shop"]
    world.deliver({"shop": "2-good", "blog": "1-good"})
    assert world.index is not None
    for revision in (running.revision, world.index["apps"]["shop"]["revision"]):
        (world.layout.revision("shop", revision) / "revision.json").write_bytes(b"damaged")
    world.restart()
    world.advance(A_WHILE)
    assert world.containers["shop"] == running

    world.withdraw(shop="0-other")
    world.advance(A_WHILE)
    assert world.containers["shop"] == running
    world.withdraw(shop="1-good")
    world.advance(A_WHILE)
    assert world.runs("shop") == ""
