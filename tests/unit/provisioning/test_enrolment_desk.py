from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from provisioning_support import NOW, Desk, make_csr

from fleet_protocol.documents.enrolment import EnrolPoll, NewToken
from fleet_protocol.wire.words import words
from provisioning import proof
from provisioning.authority.ca import CsrRefusedError
from provisioning.authority.enrolment import DecidedError, EnrolmentRefusedError, NoSuchRequestError

BY = "ops1"


def test_a_request_waits_for_an_operator_and_becomes_a_device_with_the_tokens_labels(desk: Desk) -> None:
    token = desk.token(labels={"site": "lab"})
    asked = desk.enrol(token)
    assert (asked.status, asked.device_id, asked.certificate_pem) == ("pending", None, None)
    (row,) = desk.desk.rows()
    assert (row.request_id, row.words, row.requested_name) == (asked.request_id, words(asked.fingerprint), "cam-1")
    assert desk.desk.approve(asked.request_id, BY, NOW).device_id == "cam-1"
    told = desk.poll(token, asked.request_id)
    assert (told.status, told.device_id, told.ca_pem, told.tuf_root) == ("approved", "cam-1", desk.ca.pem, desk.root)
    device = desk.store.device("cam-1")
    assert device is not None
    assert (dict(device.labels), device.fingerprint) == ({"site": "lab"}, asked.fingerprint)
    assert told.certificate_pem == device.certificate_pem


def test_a_device_is_known_to_the_broker_before_it_learns_that_it_was_approved(desk: Desk) -> None:
    answer = desk.enrol(desk.token(auto_approve=True))
    assert answer.status == "approved"
    assert desk.changes[0] == ["cam-1"]


def test_a_broker_that_cannot_be_brought_up_to_date_delays_the_answer_until_it_can(desk: Desk) -> None:
    token, csr = desk.token(auto_approve=True), make_csr()

    def fails() -> None:
        raise OSError(28, "no space left")

    desk.hook = fails
    with pytest.raises(OSError, match="no space left"):
        desk.enrol(token, csr)
    with pytest.raises(OSError, match="no space left"):
        desk.enrol(token, csr)
    desk.hook = lambda: None
    assert desk.enrol(token, csr).status == "approved"


def test_the_same_token_with_the_same_key_is_a_retry_and_takes_no_further_use(desk: Desk) -> None:
    token, csr = desk.token(uses=2), make_csr()
    first = desk.enrol(token, csr)
    assert desk.enrol(token, csr) == first
    stored = desk.store.token(token.token_id)
    assert stored is not None
    assert stored.uses_left == 1
    assert desk.enrol(token, csr, now=NOW + 10**6).request_id == first.request_id


def test_a_token_without_uses_left_admits_no_other_key(desk: Desk) -> None:
    token = desk.token(uses=1)
    desk.enrol(token)
    with pytest.raises(EnrolmentRefusedError):
        desk.enrol(token)
    assert len(desk.desk.rows()) == 1


def test_two_devices_that_ask_for_one_name_get_two(desk: Desk) -> None:
    token = desk.token(uses=3, auto_approve=True)
    assert [desk.enrol(token).device_id for _ in range(3)] == ["cam-1", "cam-1-2", "cam-1-3"]


@pytest.mark.parametrize(
    ("wish", "given"),
    [
        pytest.param("Cam Lyon #31", "cam-lyon-31", id="spaces and signs"),
        pytest.param("roadstead-server", "device-roadstead-server", id="the server's own name"),
        pytest.param("roadstead-canary", "device-roadstead-canary", id="the canary's name"),
        pytest.param("a/../b", "a-b", id="a path"),
        pytest.param("x" * 64, "x" * 48, id="too long"),
        pytest.param("+/#", None, id="nothing usable"),
        pytest.param("localhost", None, id="everybody's name"),
        pytest.param("", None, id="none"),
    ],
)
def test_a_name_that_was_asked_for_becomes_an_identifier(desk: Desk, wish: str, given: str | None) -> None:
    answer = desk.enrol(desk.token(auto_approve=True), requested_name=wish)
    assert answer.device_id == (given or f"device-{answer.fingerprint[:8]}")


def test_a_token_that_fixes_the_name_gives_that_name_whatever_is_asked_for(desk: Desk) -> None:
    answer = desk.enrol(desk.token(auto_approve=True, device_id="gate-7"), requested_name="other")
    assert answer.device_id == "gate-7"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"device_id": "gate-7", "uses": 2}, "has one use"),
        ({"device_id": "roadstead-server"}, "are the server's own"),
        ({"device_id": "cam-1"}, "has or had that name"),
    ],
)
def test_a_token_that_could_never_work_is_not_issued(desk: Desk, wish: dict[str, Any], said: str) -> None:
    desk.enrol(desk.token(auto_approve=True))
    with pytest.raises(DecidedError, match=said):
        desk.desk.issue_token(NewToken(**wish), NOW)


def test_a_fixed_name_that_went_to_another_leaves_the_request_to_the_operator(desk: Desk) -> None:
    token = desk.token(auto_approve=True, device_id="cam-1")
    desk.enrol(desk.token(auto_approve=True), requested_name="cam-1")
    asked = desk.enrol(token)
    assert asked.status == "pending"
    with pytest.raises(DecidedError, match="belongs to another device"):
        desk.desk.approve(asked.request_id, BY, NOW)


def test_a_revoked_devices_name_is_never_given_out_again(desk: Desk) -> None:
    token = desk.token(uses=2, auto_approve=True)
    desk.enrol(token)
    desk.desk.revoke("cam-1", NOW)
    desk.desk.revoke("cam-1", NOW + 1)
    assert desk.enrol(token).device_id == "cam-1-2"
    assert desk.changes[-1] == ["cam-1-2"]


def test_a_revoked_device_that_polls_is_told_that_it_is_rejected(desk: Desk) -> None:
    token = desk.token(auto_approve=True)
    answer = desk.enrol(token)
    desk.desk.revoke("cam-1", NOW)
    assert desk.poll(token, answer.request_id).status == "rejected"


def test_an_operators_decision_is_taken_once(desk: Desk) -> None:
    token = desk.token(uses=2)
    first, second = desk.enrol(token), desk.enrol(token)
    desk.desk.reject(first.request_id, BY, NOW)
    assert desk.poll(token, first.request_id).status == "rejected"
    with pytest.raises(DecidedError, match="was rejected before"):
        desk.desk.approve(first.request_id, BY, NOW)
    desk.desk.approve(second.request_id, BY, NOW)
    for decide in (desk.desk.approve, desk.desk.reject):
        with pytest.raises(DecidedError, match="was approved before"):
            decide(second.request_id, BY, NOW)
    for decide in (desk.desk.approve, desk.desk.reject):
        with pytest.raises(NoSuchRequestError):
            decide("0" * 24, BY, NOW)
    with pytest.raises(NoSuchRequestError):
        desk.desk.revoke("nobody", NOW)


def test_an_approved_device_waits_while_there_is_no_root_to_trust(desk: Desk) -> None:
    desk.root = None
    token = desk.token(auto_approve=True)
    asked = desk.enrol(token)
    assert (asked.status, asked.certificate_pem) == ("pending", None)
    desk.root = "{}"
    assert desk.poll(token, asked.request_id).tuf_root == "{}"


def test_a_server_that_was_killed_between_admitting_and_approving_finishes_at_the_next_poll(desk: Desk) -> None:
    manual = desk.token(auto_approve=True)
    request = desk.request(manual)
    desk.store.approve, kept = (lambda *_a: (_ for _ in ()).throw(KeyboardInterrupt)), desk.store.approve  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        desk.desk.enrol(request, NOW)
    desk.store.approve = kept  # type: ignore[method-assign]
    (row,) = desk.desk.rows()
    assert row.status == "pending"
    assert desk.poll(manual, row.request_id).status == "approved"


def test_a_certificate_request_that_cannot_be_read_says_so_to_the_tokens_holder_only(desk: Desk) -> None:
    token = desk.token()
    garbled = make_csr().replace("\nMI", "\nAA", 1)
    with pytest.raises(CsrRefusedError, match="cannot be read"):
        desk.enrol(token, garbled)
    with pytest.raises(EnrolmentRefusedError):
        desk.enrol(token, garbled, proof="0" * 64)


def test_what_a_host_says_of_itself_is_kept_small(desk: Desk) -> None:
    token = desk.token(uses=2)
    desk.enrol(token, host={"kernel": "6.1"})
    desk.enrol(token, host={"kernel": "x" * 9000}, requested_name="\x1b[31mred")
    newest, first = desk.desk.rows()
    assert (first.host, newest.host) == ({"kernel": "6.1"}, {})
    assert newest.requested_name == "\N{REPLACEMENT CHARACTER}[31mred"


def test_a_poll_needs_the_token_that_started_the_request(desk: Desk) -> None:
    token, other = desk.token(), desk.token()
    asked = desk.enrol(token)
    good = proof.poll_proof(token.secret, asked.request_id)
    wrongs = [
        (token.token_id, "0" * 64),
        (other.token_id, proof.poll_proof(other.secret, asked.request_id)),
        (other.token_id, good),
        ("unknown0", good),
    ]
    for token_id, given in wrongs:
        with pytest.raises(EnrolmentRefusedError):
            desk.desk.poll(asked.request_id, EnrolPoll(token_id=token_id, proof=given), NOW)
    with pytest.raises(EnrolmentRefusedError):
        desk.desk.poll("0" * 24, EnrolPoll(token_id=token.token_id, proof=good), NOW)


def test_the_certificate_is_the_devices_whatever_the_request_said(desk: Desk) -> None:
    answer = desk.enrol(desk.token(auto_approve=True), make_csr(None, "roadstead-server"))
    assert answer.certificate_pem is not None
    made = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
    assert [a.value for a in made.subject] == ["cam-1"]
