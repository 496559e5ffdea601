from __future__ import annotations

import time
from pathlib import Path

import pytest
from broker_client import connect_refusal
from provisioning_support import Broker

from provisioning.authority import broker_files
from provisioning.authority.broker_files import Applied, BrokerUnsafeError
from provisioning.authority.canary import Outcome
from provisioning.authority.crl import CrlUnsafeError, check_crl, make_crl
from provisioning.authority.records import RevokedCertificate


def now() -> int:
    return int(time.time())


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[: len(data) // 2])


def test_threat_66_a_list_truncated_at_any_byte_is_caught_before_it_replaces_the_good_one(broker: Broker) -> None:
    whole = make_crl(broker.ca, [RevokedCertificate(7, now())], now())
    check_crl(whole, broker.ca.certificate, {7}, now())
    for length in range(len(whole)):
        with pytest.raises(CrlUnsafeError):
            check_crl(whole[:length], broker.ca.certificate, {7}, now())


def test_threat_66_a_list_with_any_byte_changed_is_caught_or_says_the_same(broker: Broker) -> None:
    whole = make_crl(broker.ca, [RevokedCertificate(7, now())], now())
    body = whole.index(b"\n") + 1
    for at in range(body, whole.index(b"-----END"), 3):
        changed = whole[:at] + (b"A" if whole[at : at + 1] != b"A" else b"B") + whole[at + 1 :]
        with pytest.raises(CrlUnsafeError):
            check_crl(changed, broker.ca.certificate, {7}, now())


def test_threat_66_mosquitto_itself_fails_open_and_the_canary_sees_it(broker: Broker) -> None:
    broker.directory.apply([], [], now())
    broker.start()
    assert broker.directory.look(broker.directory.mark()) == (Outcome.ADMITTED, Outcome.REFUSED)
    spoil(broker.folder / "crl.pem")
    broker.directory.process.reload()
    deadline = time.monotonic() + 5
    while broker.directory.look(broker.directory.mark())[1] is Outcome.REFUSED:
        assert time.monotonic() < deadline, "this mosquitto does not fail open: the row's premise has changed"


def test_threat_66_a_check_mends_a_list_that_was_spoilt_on_disk(broker: Broker) -> None:
    certificate, key, serial = broker.client_files("cam-1")
    revoked = [RevokedCertificate(serial, now())]
    broker.directory.apply([], revoked, now())
    broker.start()
    spoil(broker.folder / "crl.pem")
    broker.directory.process.reload()
    assert broker.directory.check([], revoked, now()) is Applied.LIVE
    assert connect_refusal(broker, (certificate, key))


def test_threat_66_a_broker_that_lets_revoked_ones_in_for_good_is_ended_and_does_not_start_on_a_bad_list(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.directory.apply([], [], now())
    broker.start()
    write = broker.directory._write

    def spoilt_on_the_way(name: str, data: bytes) -> None:  # a disk that lies
        write(name, data)
        if name == "crl.pem":
            spoil(broker.folder / name)

    monkeypatch.setattr(broker.directory, "_write", spoilt_on_the_way)
    with pytest.raises(BrokerUnsafeError, match="it let a revoked certificate in, so it was ended"):
        broker.directory.apply(["cam-1"], [], now())
    assert broker.process is not None
    assert broker.process.wait(timeout=5) is not None
    assert not broker.directory.process.runs()
    broker.stop()
    with pytest.raises(AssertionError, match="mosquitto ended with status"):
        broker.start()
    assert broker_files.BrokerUnsafeError.code == "E0621"
