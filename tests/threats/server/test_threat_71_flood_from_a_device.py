"""Row 71: an enrolled device floods. Others are served as before, and the flood is dropped and counted."""

from __future__ import annotations

import threading
import time

from server_process_support import ServerUnderTest, wait_until

from fleet_protocol.wire.topics import Channel


def test_threat_71_a_flooding_device_is_throttled_and_the_others_are_heard(server: ServerUnderTest) -> None:
    loud, quiet = server.enrol("loud"), server.enrol("quiet")
    flooding = threading.Event()
    flooding.set()

    def flood() -> None:
        while flooding.is_set():
            for _ in range(100):
                loud.publish(Channel.REPORTED, b'{"garbage": ' + b"x" * 2000)
            time.sleep(0.02)

    with loud.online(), quiet.online():
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            wait_until(lambda: server.api("GET", "/v1/status")["dropped"].get("flood", 0) > 200, "the flood")
            times = []
            for n in range(1, 6):
                began = time.monotonic()
                quiet.outbox = [n]
                quiet.drain()
                times.append(time.monotonic() - began)
        finally:
            flooding.clear()
            thread.join()
    assert max(times) < 3.0, times
    status = server.api("GET", "/v1/status")
    # What was read at all is bounded by the bucket, whatever was sent.
    assert status["dropped"]["garbage"] < 1000
    assert server.api("GET", "/v1/devices/loud")["reported"] is None
