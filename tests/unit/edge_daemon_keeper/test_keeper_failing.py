"""Containers that are ended for their probe: told once each, also over a restart of the keeper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.failing import Failing
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.records import Records
from edge_daemon.keeper.supervise import Unit


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    db = KeeperDb(tmp_path / "keeper.db")
    yield Journal(db, Outbox(db), Records(db), "boot", lambda: 1)
    db.close()


def seen(ticks: int = 100, app: str = "shop") -> Seen:
    return Seen(app, "web", "r" * 64, 7, 1.0, ticks, None, None, oom_killed=False)


def told(journal: Journal) -> list[str]:
    return [str(row.fields()["text"]) for row in journal.outbox.recent(10)]


def test_the_cause_is_told_once_and_known_to_the_next_keeper(journal: Journal) -> None:
    Failing(journal).restart(seen(), "answered 503")
    later = Failing(journal)
    later.restart(seen(), "answered 500")

    assert later.why(seen()) == "answered 503"
    assert told(journal) == ["shop/web failed its probe: answered 503; it is stopped and started again"]


def test_another_run_of_the_container_has_a_cause_of_its_own(journal: Journal) -> None:
    failing = Failing(journal)
    failing.restart(seen(), "answered 503")

    assert failing.why(seen(ticks=200)) == ""
    failing.restart(seen(ticks=200), "answered 503")
    assert len(told(journal)) == 2


def test_what_is_left_running_is_told_once_and_is_not_asked_to_end(journal: Journal) -> None:
    units = (Unit("web", policy="no"),)
    for _ in range(3):
        found = Failing(journal).among((seen(),), "r" * 64, units, {"web": "answered 503"})
        assert found == {"web": "answered 503"}

    assert Failing(journal).why(seen()) == ""
    assert told(journal) == [
        "shop/web failed its probe: answered 503; it is left running, for its restart policy is `no`"
    ]


def test_what_was_asked_to_end_stays_so_when_its_probe_falls_silent(journal: Journal) -> None:
    failing = Failing(journal)
    failing.restart(seen(), "answered 503")

    assert failing.among((seen(),), "r" * 64, (Unit("web"),), {}) == {"web": "answered 503"}
    assert failing.among((seen(),), None, (), {}) == {}


def test_an_app_that_leaves_is_forgotten(journal: Journal) -> None:
    failing = Failing(journal)
    failing.restart(seen(), "answered 503")
    failing.restart(seen(app="shop2"), "answered 503")

    failing.forget("shop")

    assert Failing(journal).why(seen()) == ""
    assert Failing(journal).why(seen(app="shop2")) == "answered 503"
