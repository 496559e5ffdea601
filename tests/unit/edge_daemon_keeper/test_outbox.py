"""Events: numbered without gaps, bounded, durable, kept until acknowledged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_daemon.keeper.db import MIGRATIONS, KeeperDb, open_or_replace
from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.outbox import DROPPED, KEPT_FOR_LOOKING, Outbox
from edge_daemon.keeper.records import AppRow, Records, ServiceRow
from edge_daemon.keeper.spool import GATHER_S, PATIENCE_S, Spool
from fleet_protocol.documents.device import Ack, Events


@pytest.fixture
def db(tmp_path: Path) -> Iterator[KeeperDb]:
    opened = KeeperDb(tmp_path / "keeper.db")
    yield opened
    opened.close()


def fill(outbox: Outbox, count: int, severity: str = "info") -> None:
    for n in range(count):
        outbox.add(n, "test.event", f"number {n}", severity=severity)


def test_numbers_are_given_when_first_sent_ascending_and_kept_over_restarts(db: KeeperDb) -> None:
    outbox = Outbox(db)
    fill(outbox, 3)
    assert [e.seq for e in outbox.batch(0)] == [1, 2, 3]
    fill(outbox, 1)

    again = Outbox(db)

    assert again.spool == outbox.spool
    assert [e.seq for e in again.batch(0)] == [1, 2, 3, 4]
    assert [e.seq for e in again.batch(3)] == [4]


def test_an_acknowledgement_counts_once_for_this_spool_and_never_beyond_what_was_sent(db: KeeperDb) -> None:
    outbox = Outbox(db)
    fill(outbox, 5)
    outbox.batch(0)
    assert not outbox.acknowledge("0" * 16, 3)
    assert not outbox.acknowledge(outbox.spool, 6)
    assert outbox.acknowledge(outbox.spool, 3)
    assert not outbox.acknowledge(outbox.spool, 3)
    assert not outbox.acknowledge(outbox.spool, 2)
    assert outbox.pending == 2
    assert Outbox(db).pending == 2


def test_a_full_outbox_drops_the_oldest_of_least_weight_says_how_many_and_leaves_no_gap(db: KeeperDb) -> None:
    outbox = Outbox(db, max_unsent=200)
    fill(outbox, 2, "error")
    fill(outbox, 500)

    events = []
    while batch := outbox.batch(outbox.through):
        events += batch
        outbox.acknowledge(outbox.spool, batch[-1].seq or 0)

    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert len(events) <= 202
    assert [e.severity for e in events].count("error") == 2
    (dropped,) = [e for e in events if e.kind == DROPPED]
    assert int(dropped.text.split()[0]) == 502 - (len(events) - 1)
    assert events[-1].text == "number 499"


def test_a_message_holds_at_most_a_hundred_events_and_64_kib(db: KeeperDb) -> None:
    outbox = Outbox(db)
    fill(outbox, 130)
    assert len(outbox.batch(0)) == 100
    for _ in range(100):
        outbox.add(1, "test.wide", "\N{CJK UNIFIED IDEOGRAPH-6C34}" * 600)
    spool = Spool("cam-1", outbox, lambda _: True)
    wide = outbox.batch(100)
    assert 30 < len(wide) < 100
    assert Events.parse(spool._message([e.fields() for e in wide])).events[0].seq == 101


def test_what_the_server_has_is_kept_for_looking_and_only_the_newest_of_it(db: KeeperDb) -> None:
    outbox = Outbox(db)
    fill(outbox, KEPT_FOR_LOOKING + 50)
    while batch := outbox.batch(outbox.through):
        outbox.acknowledge(outbox.spool, batch[-1].seq or 0)
    assert len(outbox.recent(10_000)) == KEPT_FOR_LOOKING
    assert [e.text for e in outbox.recent(2)] == [f"number {KEPT_FOR_LOOKING + n}" for n in (48, 49)]


def test_texts_are_made_inert_and_cut(db: KeeperDb) -> None:
    outbox = Outbox(db)
    outbox.add(1, "test.event", "a\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}" + "b" * 1000)
    (event,) = outbox.recent(1)
    assert event.text.isprintable()
    assert len(event.text) == 600


def test_a_transaction_that_fails_leaves_nothing(db: KeeperDb) -> None:
    outbox, records = Outbox(db), Records(db)

    def half() -> None:
        with db.transaction():
            outbox.add(1, "test.event", "never")
            records.put_service(ServiceRow("shop", "web", "r1"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    outbox.reload()
    records.reload()
    assert (outbox.pending, outbox.recent(9)) == (0, [])
    assert records.any_service("shop", "web") is None


def test_a_database_that_cannot_be_read_is_moved_aside_and_a_new_spool_begins(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    path.write_bytes(b"this was a database once" * 400)

    db, alarm = open_or_replace(path, 77)

    assert "could not be read" in alarm
    assert "keeper.db.unreadable-77-" in alarm
    (aside,) = tmp_path.glob("keeper.db.unreadable-77-*")
    assert aside.read_bytes().startswith(b"this was a database once")
    assert len(Outbox(db).spool) == 16
    db.close()


def test_a_database_of_a_newer_keeper_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(StateError, match="newer version"):
        open_or_replace(path, 1)
    assert [p.name for p in tmp_path.iterdir() if "unreadable" in p.name] == []


def test_the_file_is_roots_alone_and_syncs_in_full(db: KeeperDb, tmp_path: Path) -> None:
    assert (tmp_path / "keeper.db").stat().st_mode & 0o077 == 0
    assert db.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_rows_of_services_count_only_in_their_revision(db: KeeperDb) -> None:
    records = Records(db)
    records.put_service(ServiceRow("shop", "web", "r1", restarts=4))
    records.put_app(AppRow("shop", good_revision="r1"))
    again = Records(db)
    assert again.service("shop", "web", "r1").restarts == 4
    assert again.service("shop", "web", "r2").restarts == 0
    assert again.good() == {("shop", "r1")}
    again.forget("shop")
    assert Records(db).known() == set()


# --- sending


class Wire:
    def __init__(self) -> None:
        self.sent: list[Events] = []
        self.open = True

    def __call__(self, payload: bytes) -> bool:
        if self.open:
            self.sent.append(Events.parse(payload))
        return self.open

    def numbers(self) -> list[list[int]]:
        out = [[e.seq for e in message.events] for message in self.sent]
        self.sent = []
        return out


def test_events_travel_together_and_again_until_acknowledged(db: KeeperDb) -> None:
    outbox, wire = Outbox(db), Wire()
    spool = Spool("cam-1", outbox, wire)
    fill(outbox, 3)
    assert spool.step(10.0) == 10.0 + GATHER_S
    assert wire.numbers() == []
    spool.step(10.2)
    assert wire.numbers() == [[1, 2, 3]]
    assert spool.step(11.0) == 10.2 + PATIENCE_S
    assert wire.numbers() == []
    spool.step(10.2 + PATIENCE_S)
    spool.step(10.3 + PATIENCE_S + GATHER_S)
    assert wire.numbers() == [[1, 2, 3]]
    spool.acknowledged(Ack(spool=outbox.spool, through=3).to_bytes())
    assert spool.step(99.0) == float("inf")
    assert outbox.pending == 0


def test_two_batches_are_in_flight_and_the_next_follows_the_acknowledgement_at_once(db: KeeperDb) -> None:
    outbox, wire = Outbox(db), Wire()
    spool = Spool("cam-1", outbox, wire)
    fill(outbox, 350)
    spool.step(0.0)
    assert [len(n) for n in wire.numbers()] == [100, 100]
    spool.step(0.1)
    assert wire.numbers() == []
    spool.acknowledged(Ack(spool=outbox.spool, through=100).to_bytes())
    spool.step(0.2)
    assert [n[0] for n in wire.numbers()] == [201]


def test_a_new_connection_sends_everything_that_is_not_acknowledged_again(db: KeeperDb) -> None:
    outbox, wire = Outbox(db), Wire()
    spool = Spool("cam-1", outbox, wire)
    fill(outbox, 2)
    spool.step(0.0)
    spool.step(1.0)
    assert wire.numbers() == [[1, 2]]
    spool.connected()
    spool.step(2.0)
    spool.step(3.0)
    assert wire.numbers() == [[1, 2]]


@pytest.mark.parametrize(
    "junk", [b"", b"x", b"[]", b"{}", b'{"spool": "", "through": 1}', b'{"through": true}', b"9" * 2000]
)
def test_what_is_no_acknowledgement_is_left(db: KeeperDb, junk: bytes) -> None:
    outbox = Outbox(db)
    fill(outbox, 1)
    outbox.batch(0)
    Spool("cam-1", outbox, Wire()).acknowledged(junk)
    assert outbox.pending == 1
