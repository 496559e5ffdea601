"""A service that is not ready is told, and told again when it is: bounded, durable, and never wrong for long."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.records import Records
from edge_daemon.keeper.unready import QUIET_S, READY, UNREADY, Told, Unready, after

WHY = "http :80/ready answered 503 (1 of 1 failures)"


def opened(path: Path) -> tuple[Unready, Outbox, KeeperDb]:
    db = KeeperDb(path)
    outbox = Outbox(db)
    return Unready(Journal(db, outbox, Records(db), "boot", lambda: 1)), outbox, db


def told(outbox: Outbox) -> list[str]:
    return [f"{event.kind} {event.text}" for event in outbox.recent(100)]


@given(st.lists(st.tuples(st.floats(0.1, 1000.0), st.booleans()), max_size=80))
def test_however_often_it_changes_there_are_few_events_and_the_last_is_true(changes: list[tuple[float, bool]]) -> None:
    now, known, said = 1000.0, Told(), []
    for pause, ready in changes:
        now += pause
        known, event = after(known, ready=ready, now=now)
        said += [(now, event)] if event else []
    kinds = [event for _, event in said]
    assert kinds == [UNREADY, READY] * (len(kinds) // 2) + [UNREADY] * (len(kinds) % 2)
    times = [at for at, event in said if event == UNREADY]
    assert all(late - early >= QUIET_S for early, late in pairwise(times))

    ready = changes[-1][1] if changes else True
    known, event = after(known, ready=ready, now=now + QUIET_S)
    assert known.unready is not ready, "when the time is over, what was told last is so"


def test_a_flood_of_changes_is_two_events_and_a_number(tmp_path: Path) -> None:
    unready, outbox, db = opened(tmp_path / "keeper.db")
    for turn in range(100):
        unready.look("shop", {"web.b": WHY}, set(), 1000.0 + turn)
        unready.look("shop", {}, {"web.b"}, 1000.5 + turn)
    assert told(outbox) == [f"probe.unready shop/web is not ready: {WHY}", "probe.ready shop/web is ready again"]

    unready.look("shop", {"web": WHY}, set(), 1000.0 + QUIET_S)

    assert told(outbox)[2:] == [
        f"probe.unready shop/web is not ready: {WHY}; so it was 99 more times since that was last told"
    ]
    db.close()


def test_a_keeper_that_is_killed_tells_nothing_twice_and_still_tells_that_it_is_ready_again(tmp_path: Path) -> None:
    for now in (1000.0, 1001.0):
        unready, outbox, db = opened(tmp_path / "keeper.db")
        unready.look("shop", {"web": WHY}, set(), now)
        db.close()
    for now in (1002.0, 1003.0):
        unready, outbox, db = opened(tmp_path / "keeper.db")
        unready.look("shop", {}, {"web"}, now)
        db.close()
    unready, outbox, db = opened(tmp_path / "keeper.db")
    unready.look("shop", {"web": WHY}, set(), 1004.0)
    assert [event.kind for event in outbox.recent(100)] == ["probe.unready", "probe.ready"]

    unready.look("shop", {"web": WHY}, set(), 5.0)  # the host was started anew

    assert [event.kind for event in outbox.recent(100)][2:] == ["probe.unready"]
    db.close()


def test_one_that_has_no_opinion_yet_is_not_told_and_an_app_that_left_is_forgotten(tmp_path: Path) -> None:
    unready, outbox, db = opened(tmp_path / "keeper.db")
    unready.look("shop", {}, set(), 1000.0)
    unready.look("shop", {"web": WHY}, {"db"}, 1001.0)
    unready.look("blog", {"web": WHY}, set(), 1001.0)
    unready.forget("shop")
    unready.look("shop", {}, {"web"}, 1002.0)
    unready.look("blog", {}, {"web"}, 1002.0)
    assert [f"{event.kind} {event.app}" for event in outbox.recent(100)] == [
        "probe.unready shop", "probe.unready blog", "probe.ready blog"
    ]  # fmt: skip
    db.close()
