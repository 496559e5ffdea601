"""Row 72, the device's side: the broker crashes again and again, or is away for very long, and no event is lost."""

from __future__ import annotations

import random
import signal

from keeper_support import Host

from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.outbox import Outbox

ROUNDS = 15


def test_threat_72_broker_crash_again_and_again_loses_and_repeats_no_event(edge: Host) -> None:
    edge.command("shop", "web", "sh", "-c", "sleep 0.3; exit 1")
    edge.online()
    edge.server.publish(edge.good({"shop": {"release": "1.0", "services": ["web"]}}))
    chance = random.Random(72)  # noqa: S311  moments, not secrets
    for _ in range(ROUNDS):
        edge.server.pump(chance.random() * 0.6)
        edge.broker.stop(signal.SIGKILL)
        edge.broker.start()

    edge.command("shop", "web", "sleep", "1000")
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0, seconds=60)

    assert edge.server.gaps() == []
    own = edge.keeper.ask(ask="events", count=1000)["events"]
    assert [edge.server.stored[edge.server.spool, e["seq"]] for e in own] == [f"{e['kind']} {e['text']}" for e in own]


def test_threat_72_broker_crash_with_1500_events_waiting_delivers_all_of_them(edge: Host) -> None:
    db = KeeperDb(edge.layout.keeper_db)
    outbox = Outbox(db)
    with db.transaction():
        for n in range(1500):
            outbox.add(n, "test.event", f"number {n}")
    db.close()

    edge.online()

    edge.server.until(lambda: edge.server.count("test.event") == 1500, seconds=30)
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)
    assert edge.server.gaps() == []
    numbers = [int(text.split()[-1]) for text in edge.server.stored.values() if "number" in text]
    assert sorted(numbers) == list(range(1500))


def test_threat_72_broker_denies_publishing_and_the_device_raises_an_alarm(edge: Host) -> None:
    acl = (edge.broker.folder / "acl").read_text()
    edge.broker.allow(acl.replace("topic write roadstead/v1/devices/cam-1/reported\n", ""))
    edge.online()

    edge.server.until(lambda: edge.server.count("broker.denied") == 1)

    assert any("publishing reported: Not authorized" in text for text in edge.server.stored.values())
