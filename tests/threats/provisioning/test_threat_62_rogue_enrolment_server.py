from __future__ import annotations

import json
from pathlib import Path

import pytest
from provisioning_support import NOW, Desk, HttpsFront, https_front, make_csr, open_desk

from provisioning import proof
from provisioning.authority.ca import DeviceCa, der_of_pem
from provisioning.authority.enrolment import EnrolmentRefusedError
from provisioning.device.enrol import EnrolmentTrustError, enrol
from provisioning.device.https import ServerUnreachableError
from provisioning.token import Token


def at(token: Token, url: str) -> Token:
    return Token(url, token.ca_sha256, token.root_sha256, token.token_id, token.secret)


def test_threat_62_a_server_with_a_ca_of_its_own_is_sent_nothing(desk: Desk, tmp_path: Path) -> None:
    token = desk.token()
    (tmp_path / "rogue").mkdir()
    with (
        open_desk(tmp_path / "rogue", DeviceCa.create("lab", NOW)) as rogue,
        https_front(rogue, tmp_path / "rogue") as front,
    ):
        with pytest.raises(EnrolmentTrustError, match="its CA is not the one that the token names"):
            enrol(at(token, front.url), tmp_path / "state", "cam-1")
        assert [(method, path, body) for method, path, _, body in front.asked] == [("GET", "/v1/ca", b"")]


def test_threat_62_a_server_that_shows_our_ca_without_holding_its_key_is_sent_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    token = desk.token()
    (tmp_path / "rogue").mkdir()
    with (
        open_desk(tmp_path / "rogue", DeviceCa.create("lab", NOW)) as rogue,
        https_front(rogue, tmp_path / "rogue") as front,
    ):
        honest = front.answer
        front.answer = lambda m, p, h, b: (200, desk.ca.pem.encode()) if p == "/v1/ca" else honest(m, p, h, b)  # type: ignore[method-assign, assignment]
        with pytest.raises(ServerUnreachableError, match="certificate is not acceptable"):
            enrol(at(token, front.url), tmp_path / "state", "cam-1")
        assert [path for _, path, _, _ in front.asked] == ["/v1/ca"]


def test_threat_62_the_secret_never_crosses_the_wire_and_no_log_line_shows_it(
    desk: Desk, front: HttpsFront, tmp_path: Path
) -> None:
    token = desk.token(auto_approve=True)
    enrol(token, tmp_path / "state", "cam-1")
    for _, path, headers, body in front.asked:
        assert token.secret not in path + json.dumps(headers) + body.decode()
    for file in (tmp_path / "state").rglob("*"):
        assert not file.is_file() or token.secret.encode() not in file.read_bytes()


def test_threat_62_a_captured_proof_is_worth_nothing_for_another_request(desk: Desk) -> None:
    token = desk.token(uses=5)
    captured = desk.request(token)
    mine = make_csr()
    with pytest.raises(EnrolmentRefusedError):
        desk.desk.enrol(captured.model_copy(update={"csr_pem": mine}), NOW)
    other_nonce = desk.desk.challenge(token.token_id, NOW).nonce
    with pytest.raises(EnrolmentRefusedError):
        desk.desk.enrol(captured.model_copy(update={"nonce": other_nonce}), NOW)
    chosen = "A" * 54  # a nonce that the attacker made up and had the device prove
    given = proof.enrol_proof(token.secret, chosen, der_of_pem(captured.csr_pem))
    with pytest.raises(EnrolmentRefusedError):
        desk.desk.enrol(captured.model_copy(update={"nonce": chosen, "proof": given}), NOW)
    assert desk.store.enrolments() == []
    desk.desk.enrol(captured, NOW)
    with pytest.raises(EnrolmentRefusedError):
        desk.desk.enrol(captured, NOW)
