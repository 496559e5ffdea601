"""Row 73: every message repeated and shuffled. Events are stored once, and nothing is acknowledged over a gap."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from server_support import NOW, SPOOL, enrol, some_events

from fleet_protocol.documents.device import Events
from fleet_server.mqtt.intake import Incoming, Intake
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.store.sqlite import open_store

TOPIC = "roadstead/v1/devices/cam-1/events"
deliveries = st.lists(st.integers(0, 5), max_size=20).flatmap(lambda extra: st.permutations([*range(6), *extra]))


def message(number: int) -> bytes:
    """Three events: 1-3, 4-6 and so on."""
    batch = some_events(*range(3 * number + 1, 3 * number + 4)).events[0]
    return Events(device_id="cam-1", spool=SPOOL, events=batch.events).to_bytes()


@settings(max_examples=25, deadline=None)
@given(deliveries, st.integers(1, 4))
def test_threat_73_any_order_and_any_repetition_comes_to_the_same(order: list[int], batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "server.db")
        try:
            enrol(store)
            intake = Intake(store, DesiredQueue(), lambda _claims, _now: None)
            arrived: set[int] = set()
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                arrived |= {seq for n in part for seq in range(3 * n + 1, 3 * n + 4)}
                acks = intake.take([Incoming(TOPIC, message(n)) for n in part], NOW)
                for _, ack in acks:
                    assert set(range(1, ack.through + 1)) <= arrived, "acknowledged over a gap"
            assert sorted(e.event.seq for e in store.events("cam-1", 100)) == list(range(1, 19))
            assert store.spools() == {("cam-1", SPOOL): 18}
        finally:
            store.close()
