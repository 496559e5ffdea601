from __future__ import annotations

import os
import pwd
import stat
import time
from pathlib import Path

import pytest
from broker_client import Device, connect_refusal
from provisioning_support import Broker

from fleet_protocol.wire.topics import FROM_DEVICE, TO_DEVICE, topic
from provisioning.authority.broker_files import Applied, BrokerDirectory, BrokerUnusableError
from provisioning.authority.broker_process import BrokerProcess
from provisioning.authority.canary import Outcome

pytestmark = pytest.mark.timeout(60)


def now() -> int:
    return int(time.time())


def test_files_are_written_for_a_broker_that_is_not_there_yet_and_hold_once_it_is(broker: Broker) -> None:
    assert broker.directory.apply(["cam-1"], [], now()) is Applied.WRITTEN
    broker.start()
    assert broker.directory.apply(["cam-1"], [], now()) is Applied.LIVE


def test_keys_belong_to_the_broker_alone(broker: Broker) -> None:
    broker.directory.apply([], [], now())
    owner = pwd.getpwnam("mosquitto").pw_uid
    for name in ("server.key", "server.pem", "acl", "crl.pem", "ca.pem", "mosquitto.conf"):
        found = (broker.folder / name).stat()
        assert (name, found.st_uid, stat.S_IMODE(found.st_mode)) == (name, owner, 0o400)
    assert stat.S_IMODE(broker.folder.stat().st_mode) == 0o700
    assert broker.directory.server_key.stat().st_uid == os.geteuid()
    assert sorted(p.name for p in broker.folder.iterdir() if p.name.startswith(".")) == []


def test_a_change_reaches_a_running_broker_and_the_same_again_costs_nothing(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    assert broker.directory.apply(["cam-1", "cam-2"], [], now()) is Applied.LIVE
    written = (broker.folder / "acl").stat().st_mtime_ns
    broker.log()
    assert broker.directory.apply(["cam-2", "cam-1"], [], now()) is Applied.LIVE
    assert (broker.folder / "acl").stat().st_mtime_ns == written
    assert [line for line in broker.log() if "Reloading" in line] == []


def test_a_device_speaks_on_its_own_topics_and_hears_what_is_for_it(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    with (
        Device(broker, "cam-1") as device,
        Device(
            broker, "roadstead-server", files=(broker.directory.server_certificate, broker.directory.server_key)
        ) as server,
    ):
        server.subscribe("roadstead/v1/devices/+/+")
        device.subscribe("roadstead/v1/devices/cam-1/+")
        assert [device.publish(topic("cam-1", c), b"from") for c in FROM_DEVICE] == ["Success"] * len(FROM_DEVICE)
        assert [server.publish(topic("cam-1", c), b"to") for c in TO_DEVICE] == ["Success"] * len(TO_DEVICE)
        assert device.heard(len(TO_DEVICE)) == {(topic("cam-1", c), b"to") for c in TO_DEVICE}
        sent = {(topic("cam-1", c), b"from") for c in FROM_DEVICE} | {(topic("cam-1", c), b"to") for c in TO_DEVICE}
        assert server.heard(len(sent)) == sent


def test_a_device_may_not_write_what_is_for_it_nor_read_what_is_from_it(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    with Device(broker, "cam-1") as device:
        assert {device.publish(topic("cam-1", c), b"x") for c in TO_DEVICE} == {"Not authorized"}
        device.subscribe("#")
        for c in FROM_DEVICE:
            device.publish(topic("cam-1", c), b"own")
        assert device.heard_nothing()


def test_a_device_that_the_list_does_not_hold_may_do_nothing(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    with Device(broker, "cam-9") as device:
        assert device.publish(topic("cam-9", FROM_DEVICE[0]), b"x") == "Not authorized"


def test_a_stranger_without_our_certificate_is_not_let_in(broker: Broker, tmp_path: Path) -> None:
    from provisioning.authority.ca import DeviceCa

    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    stranger = Broker(tmp_path / "stranger", DeviceCa.create("lab", now()))
    stranger.folder.mkdir()
    assert connect_refusal(broker, stranger.client_files("cam-1")[:2])
    assert connect_refusal(broker, None)


def test_a_server_certificate_does_not_speak_as_a_device(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    copy = broker.folder.parent / "clients"
    copy.mkdir(exist_ok=True)
    pair = copy / "server.pem", copy / "server.key"
    for to, name in zip(pair, ("server.pem", "server.key"), strict=True):
        to.write_bytes((broker.folder / name).read_bytes())
    assert connect_refusal(broker, pair)


def test_certificates_that_grow_old_are_replaced_and_a_running_broker_takes_the_new_one(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    before = (broker.folder / "server.pem").read_bytes()
    broker.directory.prepare(now())
    assert (broker.folder / "server.pem").read_bytes() == before
    broker.directory.prepare(now() + 600 * 86400)
    assert (broker.folder / "server.pem").read_bytes() != before
    broker.directory.reload_s = 0.3
    # The new ones begin in the future of this machine's clock: a check finds that nobody can connect, and says so.
    with pytest.raises(BrokerUnusableError, match="it was not let in"):
        broker.directory.check(["cam-1"], [], now())


def test_only_a_mosquitto_is_signalled(broker: Broker) -> None:
    pid_file = broker.folder / "mosquitto.pid"
    for text in ("", "x", "-1", "1", f"{os.getpid()}", "999999999"):
        pid_file.write_text(text)
        process = BrokerProcess(pid_file)
        assert (process.runs(), process.reload(), process.end()) == (False, False, False)


def test_a_broker_that_ended_is_found_ended(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    broker.stop()
    assert broker.directory.apply(["cam-1", "cam-2"], [], now()) is Applied.WRITTEN


def test_canaries_tell_nobody_there_from_turned_away(broker: Broker) -> None:
    broker.directory.apply([], [], now())
    assert broker.directory._canary("canary").attempt("roadstead/canary/x") is Outcome.UNREACHABLE
    broker.start()
    assert broker.directory.look(broker.directory.mark()) == (Outcome.ADMITTED, Outcome.REFUSED)
    assert broker.directory._canary("canary").attempt("roadstead/canary/other") is Outcome.DENIED
    again = BrokerDirectory(broker.folder, broker.ca, broker.directory._settings)
    assert again.apply([], [], now()) is Applied.LIVE
