"""Row 21: integers that no database or parser of ours may fall over, on every topic that a device hears."""

from __future__ import annotations

import json
import os

import pytest
from keeper_support import Host

from fleet_protocol.wire.topics import Channel

HUGE = (2**53 + 1, 2**63, 2**64, 10**300, -(2**63) - 1)


def test_threat_21_huge_integers_in_acknowledgements_and_claims_do_not_end_the_keeper(edge: Host) -> None:
    edge.server.acking = False
    edge.online()
    edge.server.reported(lambda _: True)
    pid = edge.keeper.pid
    edge.server.until(lambda: edge.server.stored)
    spool = next(iter(edge.server.stored))[0]

    for number in HUGE:
        edge.server.publish(json.dumps({"spool": spool, "through": number}).encode(), channel=Channel.ACKS)
        edge.server.publish(b"garbage %d" % number, generation=number, sha256="0" * 64)
    for junk in (b"", b"[]", b"{}", b"\xff", b"1" * 900, os.urandom(64), b'{"spool": 1, "through": true}', b"[" * 1000):
        edge.server.publish(junk, channel=Channel.ACKS)
        edge.server.publish(junk, channel=Channel.REQUESTS)

    edge.apply({"shop": {"release": "1.0", "services": ["web"]}})
    status = edge.keeper.ask(ask="status")
    assert status["pending_events"] >= len(edge.server.stored) > 0, "nothing was believed to be acknowledged"
    assert edge.keeper.pid == pid
    assert edge.keeper.process is not None
    assert edge.keeper.process.poll() is None


@pytest.mark.parametrize("generation", [2**63, 10**30])
def test_threat_21_huge_integers_in_what_prepare_says_do_not_end_the_keeper(edge: Host, generation: int) -> None:
    edge.online()
    edge.generation = generation - 1
    edge.server.publish(edge.good({}))

    report = edge.server.reported(lambda r: r.refusal)

    assert report.refusal is not None
    assert "named no generation" in report.refusal.sentence
