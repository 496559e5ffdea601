from __future__ import annotations

import time

import pytest
from broker_client import Device
from provisioning_support import Broker

from fleet_protocol.wire.topics import Channel, topic

FOREIGN = [
    *(topic("cam-2", channel) for channel in Channel),
    "roadstead/v1/devices/cam-1x/events",
    "roadstead/v1/devices/cam-1/events/more",
    "roadstead/v1/devices//events",
    "roadstead/canary/x",
    "$SYS/broker/version",
    "anything",
]


@pytest.mark.parametrize(
    "pattern", ["#", "+/+/+/+/+", "roadstead/v1/devices/+/desired", "roadstead/v1/devices/cam-2/#"]
)
def test_threat_69_whatever_a_device_subscribes_to_it_hears_only_what_is_for_it(broker: Broker, pattern: str) -> None:
    broker.directory.apply(["cam-1", "cam-2"], [], int(time.time()))
    broker.start()
    files = broker.directory.server_certificate, broker.directory.server_key
    with (
        Device(broker, "cam-1") as spy,
        Device(broker, "cam-2") as other,
        Device(broker, "roadstead-server", files=files) as server,
    ):
        assert server.publish(topic("cam-2", Channel.DESIRED), b"retained", retain=True) == "Success"
        spy.subscribe(pattern)
        for channel in (Channel.REPORTED, Channel.EVENTS, Channel.PRESENCE):
            assert other.publish(topic("cam-2", channel), b"private") == "Success"
        assert server.publish(topic("cam-2", Channel.REQUESTS), b"private") == "Success"
        assert spy.heard_nothing()


def test_threat_69_a_device_can_publish_nowhere_but_on_its_own_topics(broker: Broker) -> None:
    broker.directory.apply(["cam-1", "cam-2"], [], int(time.time()))
    broker.start()
    files = broker.directory.server_certificate, broker.directory.server_key
    with Device(broker, "cam-1") as forger, Device(broker, "roadstead-server", files=files) as server:
        server.subscribe("roadstead/v1/devices/+/+")
        assert {name: forger.publish(name, b"forged") for name in FOREIGN} == dict.fromkeys(FOREIGN, "Not authorized")
        assert server.heard_nothing()


def test_threat_69_a_device_whose_name_would_be_the_servers_is_never_certified() -> None:
    from provisioning.authority import names

    assert names.is_reserved("roadstead-server")
    assert not names.is_reserved(names.sanitised("Roadstead-Server", "ab" * 32))
    assert not names.is_reserved(names.sanitised("roadstead", "ab" * 32))
