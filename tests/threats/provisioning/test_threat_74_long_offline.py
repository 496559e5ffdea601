from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_client import connect_refusal
from provisioning_support import Broker, Desk, HttpsFront, https_front, make_csr, open_desk

from fleet_protocol.wire import durable
from provisioning.authority import renewal
from provisioning.authority.renewal import RenewalRefusedError
from provisioning.device import identity
from provisioning.device.enrol import enrol
from provisioning.device.https import ServerRefusedError
from provisioning.device.identity import IdentityFolder
from provisioning.device.renew import is_due, renew
from provisioning.renewal import RenewRequest

DAY = 86400
TODAY = int(time.time())


class Lab:
    """A server whose clock a test sets, and a host that enrolled with it long ago."""

    def __init__(self, desk: Desk, front: HttpsFront, state: Path) -> None:
        self.desk, self.front, self.state = desk, front, state
        front.renewals = lambda who, body: renewal.renew(
            desk.store, desk.ca, who, RenewRequest.parse(body), front.clock()
        )

    def enrolled_days_ago(self, days: int) -> None:
        self.front.clock = lambda: TODAY - days * DAY
        enrol(self.desk.token(TODAY - days * DAY, auto_approve=True), self.state, "cam-1")
        self.front.clock = lambda: TODAY

    def pair(self) -> tuple[Path, Path]:
        return self.state / "identity/device.pem", self.state / "identity/device.key"


@pytest.fixture
def lab(broker: Broker, tmp_path: Path) -> Iterator[Lab]:
    with (
        open_desk(tmp_path / "server", broker.ca) as desk,
        https_front(desk, tmp_path, lambda: TODAY) as front,
    ):
        yield Lab(desk, front, tmp_path / "state")


def test_threat_74_a_host_whose_certificate_ended_170_days_ago_renews_and_is_let_in_again(
    lab: Lab, broker: Broker
) -> None:
    lab.enrolled_days_ago(200)
    broker.directory.apply(["cam-1"], [], TODAY)
    broker.start()
    key = lab.pair()[1].read_bytes()
    assert connect_refusal(broker, lab.pair())
    assert is_due(lab.state, TODAY)
    renew(lab.state)
    assert not connect_refusal(broker, lab.pair())
    assert lab.pair()[1].read_bytes() != key
    assert not is_due(lab.state, TODAY)
    assert sorted(p.name for p in lab.state.iterdir()) == ["identity"]
    assert sorted(p.name for p in (lab.state / "identity").iterdir()) == [
        "ca.pem", "device.key", "device.pem", "identity.json", "root.json",
    ]  # fmt: skip


def test_threat_74_after_180_days_of_grace_the_host_has_to_enrol_again(lab: Lab) -> None:
    lab.enrolled_days_ago(211)
    before = lab.pair()[0].read_bytes()
    with pytest.raises(ServerRefusedError, match="ended more than 180 days ago"):
        renew(lab.state)
    assert lab.pair()[0].read_bytes() == before


def test_threat_74_a_revoked_host_renews_nothing_however_young_its_certificate(lab: Lab) -> None:
    lab.enrolled_days_ago(25)
    lab.desk.desk.revoke("cam-1", TODAY)
    with pytest.raises(ServerRefusedError, match="not known"):
        renew(lab.state)
    with pytest.raises(RenewalRefusedError, match="was revoked"):
        renewal.renew(lab.desk.store, lab.desk.ca, "cam-1", RenewRequest(csr_pem=make_csr()), TODAY)


def test_threat_74_who_lacks_the_present_key_renews_nothing(lab: Lab) -> None:
    lab.enrolled_days_ago(25)
    lab.pair()[1].write_bytes(identity.new_key_pem())
    with pytest.raises(ServerRefusedError, match="not known"):
        renew(lab.state)
    device = lab.desk.store.device("cam-1")
    assert device is not None
    assert device.enrolled_at == TODAY - 25 * DAY
    assert lab.desk.store.revoked_certificates() == []


def test_threat_74_a_certificate_is_not_renewed_before_two_thirds_of_its_life(lab: Lab) -> None:
    lab.enrolled_days_ago(15)
    assert not is_due(lab.state, TODAY)
    with pytest.raises(ServerRefusedError, match="two thirds of its certificate's life are not over"):
        renew(lab.state)


def test_threat_74_every_certificate_that_a_revoked_host_ever_had_is_on_the_list(lab: Lab) -> None:
    lab.enrolled_days_ago(25)
    first = lab.desk.store.device("cam-1")
    renew(lab.state)
    second = lab.desk.store.device("cam-1")
    assert first is not None
    assert second is not None
    lab.desk.desk.revoke("cam-1", TODAY)
    listed = {entry.serial for entry in lab.desk.store.revoked_certificates()}
    assert listed == {first.certificate_serial, second.certificate_serial}
    assert len(listed) == 2


@pytest.mark.parametrize(
    "lost",
    [
        "the answer",
        "before the exchange",
        "after the exchange",
        "after the former was set aside",
        "before the mark was taken off",
    ],
)
def test_threat_74_a_renewal_cut_short_is_taken_up_again_and_never_leaves_the_host_without_identity(
    lab: Lab, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.enrolled_days_ago(25)

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    def killed_after_the_exchange(call: Callable[..., None]) -> Callable[..., None]:
        def instead(*arguments: Any, **options: Any) -> None:
            if (lab.state / "identity" / identity.MARK).exists():
                raise KeyboardInterrupt
            call(*arguments, **options)

        return instead

    with monkeypatch.context() as patched:
        match lost:
            case "the answer":
                patched.setattr("provisioning.device.renew.check_certificate", killed)
            case "before the exchange":
                patched.setattr(identity, "exchange_durably", killed)
            case "after the exchange":
                patched.setattr(identity, "rename_durably", killed_after_the_exchange(durable.rename_durably))
            case "after the former was set aside":
                patched.setattr(identity, "sync_directory", killed_after_the_exchange(durable.sync_directory))
            case "before the mark was taken off":
                patched.setattr(shutil, "rmtree", killed_after_the_exchange(shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            renew(lab.state)
    assert IdentityFolder(lab.state).exists()
    if is_due(lab.state, TODAY):
        renew(lab.state)
    device = lab.desk.store.device("cam-1")
    assert device is not None
    assert lab.pair()[0].read_text() == device.certificate_pem
    assert IdentityFolder(lab.state).final_key().public.key_id == device.fingerprint
    IdentityFolder(lab.state, "identity.renewal").put_in_place()
    assert lab.pair()[0].read_text() == device.certificate_pem
