from __future__ import annotations

import time

from broker_client import Device
from paho.mqtt.enums import MQTTProtocolVersion
from provisioning_support import Broker

from fleet_protocol.wire.topics import Channel, topic


def test_threat_70_under_mqtt_5_a_denied_publish_says_so_where_3_1_1_acknowledges_what_it_drops(broker: Broker) -> None:
    broker.directory.apply(["cam-1", "cam-2"], [], int(time.time()))
    broker.start()
    foreign = topic("cam-2", Channel.EVENTS)
    files = broker.directory.server_certificate, broker.directory.server_key
    with Device(broker, "roadstead-server", files=files) as server:
        server.subscribe(foreign)
        with Device(broker, "cam-1") as device:
            assert device.publish(foreign, b"x") == "Not authorized"
        with Device(broker, "cam-1", protocol=MQTTProtocolVersion.MQTTv311) as old:
            assert old.publish(foreign, b"x") == "Success"  # why nothing of ours speaks 3.1.1
        assert server.heard_nothing()


def test_threat_70_a_packet_beyond_the_limit_ends_the_session_instead_of_vanishing(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], int(time.time()))
    broker.start()
    with Device(broker, "cam-1") as device:
        assert device.publish(topic("cam-1", Channel.REPORTED), bytes(200 * 1024)) == "Success"
        assert device.publish(topic("cam-1", Channel.REPORTED), bytes(300 * 1024)) == "lost"
