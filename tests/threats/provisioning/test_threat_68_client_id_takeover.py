from __future__ import annotations

import time

from broker_client import Device
from provisioning_support import Broker

from fleet_protocol.wire.topics import Channel, topic


def test_threat_68_a_device_that_calls_itself_another_kicks_nobody(broker: Broker) -> None:
    broker.directory.apply(["cam-1", "cam-2"], [], int(time.time()))
    broker.start()
    with Device(broker, "cam-2") as victim:
        assert victim.publish(topic("cam-2", Channel.EVENTS), b"x") == "Success"
        for _ in range(5):
            with Device(broker, "cam-1", client_id="cam-2") as thief:
                assert thief.publish(topic("cam-2", Channel.EVENTS), b"x") == "Not authorized"
                assert thief.publish(topic("cam-1", Channel.EVENTS), b"x") == "Success"
        assert victim.is_connected()
        assert victim.publish(topic("cam-2", Channel.EVENTS), b"x") == "Success"


def test_threat_68_the_same_certificate_twice_is_one_session(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], int(time.time()))
    broker.start()
    with Device(broker, "cam-1", client_id="first") as first, Device(broker, "cam-1", client_id="second") as second:
        assert second.is_connected()
        assert not first.is_connected()
