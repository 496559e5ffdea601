"""Row 72: the broker crashes again and again, and its queues overflow. The device's outbox makes up for it."""

from __future__ import annotations

import signal

from server_process_support import ServerUnderTest


def test_threat_72_no_event_is_lost_or_doubled_over_broker_crashes(server: ServerUnderTest) -> None:
    device = server.enrol("cam-1")
    device.outbox = list(range(1, 1501))
    assert server.broker is not None
    with device.online():
        for _ in range(6):
            device.send_outbox()
            server.broker.end(signal.SIGKILL)
            server.start_broker()
        server.wait_connected()
        device.drain(60.0)
    events = [e["seq"] for e in server.api("GET", "/v1/events?device=cam-1&limit=1000")["items"]]
    assert sorted(events) == list(range(501, 1501))
    status = server.api("GET", "/v1/status")
    assert status["counts"]["events"] >= 1500
