"""Row 73, the device's side: everything that comes to it comes twice, late and in another order."""

from __future__ import annotations

import random

from keeper_support import Host

from fleet_protocol.documents.device import Ack
from fleet_protocol.wire.topics import Channel

WEB = {"release": "1.0", "services": ["web"]}


def test_threat_73_duplicates_and_shuffled_desired_states_end_at_the_newest_and_touch_nothing_twice(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": WEB})
    documents = [edge.good({"shop": WEB, f"app-{n}": WEB}) for n in range(4)]
    newest = documents[-1]
    mixed = documents * 3
    random.Random(73).shuffle(mixed)  # noqa: S311  moments, not secrets
    before = edge.keeper.pids()["shop/web"]
    for document in mixed:
        edge.server.publish(document)
        edge.server.pump(0.1)
    edge.server.publish(newest)

    edge.server.reported(lambda r: {a.app for a in r.apps} == {"shop", "app-3"} and r.generation == 5, seconds=30)

    assert edge.keeper.pids()["shop/web"] == before
    started = (edge.layout.state / "started.log").read_text()
    assert started.count("shop.web") == 1
    assert started.count("app-3.web") == 1


def test_threat_73_duplicates_of_acknowledgements_old_and_foreign_ones_change_nothing(edge: Host) -> None:
    edge.server.acking = False
    edge.online()
    edge.apply({"shop": WEB})
    edge.server.until(lambda: len(edge.server.stored) >= 4)
    last = max(n for _, n in edge.server.stored)
    for spool, through in (
        (edge.server.spool, 2),
        (edge.server.spool, 1),
        ("0" * 16, last),
        (edge.server.spool, 10**6),
    ):
        for _ in range(2):
            edge.server.publish(Ack(spool=spool, through=through).to_bytes(), channel=Channel.ACKS)
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == last - 2)

    edge.server.acking = True
    edge.server.acknowledge(edge.server.spool)

    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)
    assert edge.server.gaps() == []
