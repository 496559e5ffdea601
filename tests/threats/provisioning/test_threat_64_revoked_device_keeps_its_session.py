from __future__ import annotations

import time

from broker_client import Device, connect_refusal
from provisioning_support import Broker

from fleet_protocol.wire.topics import Channel, topic
from provisioning.authority.broker_files import Applied
from provisioning.authority.records import RevokedCertificate

EVENTS = topic("cam-1", Channel.EVENTS)
DESIRED = topic("cam-1", Channel.DESIRED)


def now() -> int:
    return int(time.time())


def test_threat_64_a_live_session_of_a_revoked_device_neither_speaks_nor_hears_from_that_moment(broker: Broker) -> None:
    broker.directory.apply(["cam-1", "cam-2"], [], now())
    broker.start()
    server_files = broker.directory.server_certificate, broker.directory.server_key
    with (
        Device(broker, "cam-1") as revoked,
        Device(broker, "cam-2") as other,
        Device(broker, "roadstead-server", files=server_files) as server,
    ):
        server.subscribe(EVENTS)
        revoked.subscribe(DESIRED)
        assert revoked.publish(EVENTS, b"before") == "Success"
        assert server.heard(1) == {(EVENTS, b"before")}

        entry = RevokedCertificate(revoked.serial, now())
        began = time.monotonic()
        assert broker.directory.apply(["cam-2"], [entry], now()) is Applied.LIVE
        took = time.monotonic() - began

        assert revoked.publish(EVENTS, b"after") in ("Not authorized", "lost")
        server.publish(DESIRED, b"secret")
        assert revoked.heard_nothing()
        assert server.heard(2) == {(EVENTS, b"before")}
        assert other.publish(topic("cam-2", Channel.EVENTS), b"x") == "Success"
        assert took < 3


def test_threat_64_under_load_nothing_is_accepted_once_revoking_has_returned(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    with Device(broker, "cam-1") as device:
        for i in range(200):
            assert device.publish(EVENTS, b"%d" % i) == "Success"
        broker.directory.apply([], [RevokedCertificate(device.serial, now())], now())
        assert {device.publish(EVENTS, b"%d" % i) for i in range(200)} <= {"Not authorized", "lost"}


def test_threat_64_a_revoked_device_does_not_come_back(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    certificate, key, serial = broker.client_files("cam-1")
    broker.start()
    assert not connect_refusal(broker, (certificate, key))
    broker.directory.apply([], [RevokedCertificate(serial, now())], now())
    assert connect_refusal(broker, (certificate, key))
