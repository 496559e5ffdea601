"""Events over a broker that dies: none lost, none twice."""

from __future__ import annotations

import random
import signal

from server_process_support import DeviceUnderTest, ServerUnderTest, wait_until

from fleet_protocol.wire.topics import Channel


def stored(server: ServerUnderTest, device: DeviceUnderTest) -> list[int]:
    events = server.api("GET", f"/v1/events?device={device.name}&limit=1000")["items"]
    assert all(event["device_id"] == device.name for event in events)
    return [event["seq"] for event in events]


def test_events_are_acknowledged_when_they_are_stored(server: ServerUnderTest) -> None:
    device = server.enrol("ev-1")
    device.outbox = list(range(1, 251))
    with device.online():
        device.drain()
    assert sorted(stored(server, device)) == list(range(1, 251))
    assert stored(server, device)[0] == 250  # newest first
    assert server.api("GET", "/v1/devices/ev-1")["events"][0]["seq"] == 250


def test_a_broker_killed_again_and_again_loses_and_doubles_nothing(server: ServerUnderTest) -> None:
    device = server.enrol("ev-2")
    assert server.broker is not None
    with device.online():
        for start in range(1, 601, 200):
            device.outbox += list(range(start, start + 200))
            device.send_outbox()
            server.broker.end(signal.SIGKILL)
            server.start_broker()
            server.wait_connected()
            device.drain()
    assert sorted(stored(server, device)) == list(range(1, 601))


def test_a_server_killed_between_messages_loses_and_doubles_nothing(server: ServerUnderTest) -> None:
    device = server.enrol("ev-3")
    assert server.server is not None
    device.outbox = list(range(1, 301))
    with device.online():
        device.send_outbox()
        server.server.end(signal.SIGKILL)
        device.send_outbox()  # nobody listens
        server.start_server()
        server.wait_connected()
        device.drain()
    assert sorted(stored(server, device)) == list(range(1, 301))


def test_repeated_and_shuffled_messages_are_stored_once(server: ServerUnderTest) -> None:
    device = server.enrol("ev-4")
    chance = random.Random(4)  # noqa: S311 (the same order each time)
    messages = [
        {
            "device_id": device.name,
            "spool": device.spool,
            "events": [{"seq": n, "at": 1, "kind": "test.event", "text": "x"} for n in range(start, start + 10)],
        }
        for start in range(1, 101, 10)
    ] * 2
    chance.shuffle(messages)
    with device.online():
        for message in messages:
            device.publish(Channel.EVENTS, message)
        wait_until(lambda: 100 in device.acks, "the acknowledgement of all")
    assert device.acks == sorted(device.acks)
    assert sorted(stored(server, device)) == list(range(1, 101))


def test_what_a_device_last_said_is_shown_and_its_last_will_makes_it_quiet(server: ServerUnderTest) -> None:
    device = server.enrol("ev-5")
    assert server.api("GET", "/v1/devices/ev-5")["why"] == "enrolled, never seen"
    with device.online():
        device.publish(Channel.PRESENCE, {"online": True})
        device.report()
        wait_until(lambda: server.api("GET", "/v1/devices/ev-5")["state"] == "ok", "the report")
        device.publish(Channel.PRESENCE, {"online": False})
        wait_until(lambda: server.api("GET", "/v1/devices/ev-5")["state"] == "quiet", "the last will")
    listed = {d["device_id"]: d for d in server.api("GET", "/v1/devices?view=full")["items"]}
    assert listed["ev-5"]["reported"]["boot_id"] == "b"
