from __future__ import annotations

import time
from pathlib import Path

import pytest
from broker_client import Device
from provisioning_support import Broker

from provisioning.authority import broker_files
from provisioning.authority.broker_files import Applied
from provisioning.authority.crl import CrlUnsafeError, make_crl
from provisioning.authority.records import RevokedCertificate

YEARS = 365 * 86400


def now() -> int:
    return int(time.time())


def test_threat_65_a_list_that_would_lock_everybody_out_never_replaces_the_good_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    good = (broker.folder / "crl.pem").read_bytes()
    # As it would come from a server whose clock was eleven years behind.
    monkeypatch.setattr(broker_files, "make_crl", lambda ca, revoked, at: make_crl(ca, revoked, at - 11 * YEARS))
    with pytest.raises(CrlUnsafeError, match="the broker would then refuse every device"):
        broker.directory.apply(["cam-1", "cam-2"], [], now())
    assert (broker.folder / "crl.pem").read_bytes() == good
    with Device(broker, "cam-1") as device:
        assert device.publish("roadstead/v1/devices/cam-1/events", b"x") == "Success"


def test_threat_65_an_expired_list_that_got_there_all_the_same_is_replaced_by_the_next_check(broker: Broker) -> None:
    broker.directory.apply(["cam-1"], [], now())
    broker.start()
    serial = RevokedCertificate(7, now())
    expired = make_crl(broker.ca, [serial], now() - 11 * YEARS)
    _put(broker.folder / "crl.pem", expired)
    broker.directory.process.reload()
    assert broker.directory.check(["cam-1"], [], now()) is Applied.LIVE
    with Device(broker, "cam-1") as device:
        assert device.publish("roadstead/v1/devices/cam-1/events", b"x") == "Success"


def _put(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)
