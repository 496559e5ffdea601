from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_support import NOW, SPOOL, a_desired, enrol

from fleet_server.mqtt.intake import BURST, Incoming, Intake
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.store.api import Store
from fleet_server.store.records import Mark
from fleet_server.store.sqlite import open_store

WANTED = Mark(2, f"{2:064x}")


class Desk:
    """An intake over a real store with two devices, of which one is wanted at generation 2."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.queue = DesiredQueue()
        self.ahead: list[Mapping[str, Mark]] = []
        self.intake = Intake(store, self.queue, lambda claims, _now: self.ahead.append(claims))
        enrol(store, "cam-1")
        enrol(store, "cam-2", fingerprint="e" * 64)
        store.put_desired([a_desired("cam-1", 2)], {"cam-1": 0})

    def take(
        self, channel: str, value: Any, *, name: str = "cam-1", now: float = NOW, replayed: bool = False
    ) -> list[Any]:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.intake.take([Incoming(f"roadstead/v1/devices/{name}/{channel}", data, replayed)], now)

    def report(self, mark: Mark, now: float = NOW, **over: Any) -> list[str]:
        """Who is sent its desired state because of this report."""
        told = {
            "device_id": "cam-1",
            "boot_id": "b",
            "at": 1,
            "generation": mark.generation,
            "sha256": mark.sha256,
            **over,
        }
        self.take("reported", told, now=now)
        return self.queue.take(100, now)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = open_store(tmp_path / "server.db")
    yield Desk(store)
    store.close()


def events(*numbers: int, **over: Any) -> dict[str, Any]:
    listed = [{"seq": n, "at": 1, "kind": "x.y", "text": "t"} for n in numbers]
    return {"device_id": "cam-1", "spool": SPOOL, "events": listed, **over}


GARBAGE: list[tuple[str, str, Any]] = [
    ("no JSON", "reported", b"\xff\xfe"),
    ("another device's name", "reported", {"device_id": "cam-2", "boot_id": "b", "at": 1}),
    ("a key twice", "presence", b'{"online": true, "online": false}'),
    ("a huge number", "presence", b'{"online": true, "generation": 9007199254740993}'),
    ("too long", "presence", b'{"online": true, "x": "' + b"y" * 2000 + b'"}'),
    ("events that do not ascend", "events", events(2, 1)),
    ("an event twice in one message", "events", events(1, 1)),
    ("no events", "events", events()),
    ("too many events", "events", events(*range(1, 102))),
    ("a spool that is none", "events", events(1, spool="../../x")),
    ("a wrong type", "reported", {"device_id": "cam-1", "boot_id": "b", "at": "now"}),
    ("deep nesting", "reported", b'{"x":' * 40 + b"1" + b"}" * 40),
]


@pytest.mark.parametrize(("channel", "value"), [g[1:] for g in GARBAGE], ids=[g[0] for g in GARBAGE])
def test_garbage_is_dropped_and_counted(desk: Desk, channel: str, value: Any) -> None:
    assert desk.take(channel, value) == []
    assert desk.intake.dropped == {"garbage": 1}
    assert desk.store.contacts() == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.sampled_from(["reported", "events", "presence", "samples", "responses", "desired"]), st.binary(max_size=200))
def test_no_bytes_break_the_intake(desk: Desk, channel: str, data: bytes) -> None:
    desk.take(channel, data, now=NOW + 1e9)


def test_strangers_and_topics_that_are_not_ours_are_dropped(desk: Desk) -> None:
    desk.take("presence", {"online": True}, name="nobody")
    desk.store.revoke("cam-2", NOW)
    desk.take("presence", {"online": True}, name="cam-2")
    desk.take("desired", b"{}")
    desk.intake.take([Incoming("$SYS/broker", b"{}")], NOW)
    assert desk.intake.dropped == {"stranger": 2, "topic": 2}
    assert desk.store.contacts() == {}


def test_a_flood_is_cut_off_for_that_device_alone_and_for_a_while(desk: Desk) -> None:
    for _ in range(BURST + 50):
        desk.take("presence", {"online": True})
    assert desk.intake.dropped == {"flood": 50}
    desk.take("presence", {"online": True}, name="cam-2")
    desk.take("presence", {"online": True}, now=NOW + 10)
    assert desk.intake.dropped == {"flood": 50}


def test_a_device_in_step_is_left_alone_and_one_behind_is_sent_its_document(desk: Desk) -> None:
    assert desk.report(WANTED) == []
    assert desk.report(Mark(1, "a" * 64)) == ["cam-1"]
    assert desk.report(Mark()) == []  # it was sent just now
    assert desk.report(Mark(), NOW + 31) == ["cam-1"]
    assert desk.report(WANTED, NOW + 32) == []
    assert desk.report(Mark(), NOW + 33) == ["cam-1"]  # it was in step, so this is news


def test_a_device_that_prepares_or_refused_is_not_pressed(desk: Desk) -> None:
    refusal = {"code": "E0200", "sentence": "While x, y failed: z", "generation": 2}
    assert desk.report(Mark(), preparing="fetching") == []
    assert desk.report(Mark(), refusal=refusal) == ["cam-1"]
    assert desk.report(Mark(), NOW + 60, refusal=refusal) == []
    assert desk.report(Mark(), NOW + 61, refusal={**refusal, "retry": True}) == ["cam-1"]
    assert desk.report(Mark(), NOW + 5000, refusal=refusal) == ["cam-1"]


@pytest.mark.parametrize("mark", [Mark(3, "a" * 64), Mark(2, "b" * 64)])
def test_a_device_that_is_ahead_is_overtaken(desk: Desk, mark: Mark) -> None:
    assert desk.report(mark) == []
    assert desk.ahead == [{"cam-1": mark}]


def test_what_the_broker_kept_says_nothing_about_now(desk: Desk) -> None:
    desk.take("presence", {"online": True, "generation": 2, "sha256": WANTED.sha256}, replayed=True)
    contact = desk.store.contacts()["cam-1"]
    assert (contact.last_seen, contact.online, contact.said) == (None, True, WANTED)


def test_a_last_will_knows_nothing_of_what_was_accepted_since(desk: Desk) -> None:
    desk.report(WANTED)
    desk.take("presence", {"online": False, "generation": 0}, now=NOW + 50)
    contact = desk.store.contacts()["cam-1"]
    assert (contact.last_seen, contact.online, contact.said) == (NOW, False, WANTED)
    assert desk.queue.waiting() == 0


def test_a_gap_that_never_closes_is_skipped_in_the_end(desk: Desk) -> None:
    assert desk.take("events", events(11, 12)) == []
    assert desk.take("events", events(11, 12), now=NOW + 30) == []
    acks = desk.take("events", events(11, 12), now=NOW + 61)
    assert [(name, ack.through) for name, ack in acks] == [("cam-1", 12)]
    assert [ack.through for _, ack in desk.take("events", events(13), now=NOW + 62)] == [13]


def test_a_gap_that_closes_is_waited_for(desk: Desk) -> None:
    for late in (0, 40):
        assert desk.take("events", events(3, 4), now=NOW + late) == []
    assert [ack.through for _, ack in desk.take("events", events(1, 2), now=NOW + 100)] == [4]
