"""Enrolment from the host's side. It can be cut short anywhere and run again: the same token and the same key find the
same request.

The order is what makes it safe: the CA is fetched from whoever answers and held against the pin in the token; only
then is a connection made that trusts it. The token's secret never leaves the host, only proofs made with it; what
comes back is held against our own key, that CA, and the token's pin of release trust, before anything is put in
place.
"""

from __future__ import annotations

import hashlib
import random
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_protocol.documents.enrolment import Challenge, EnrolAnswer
from fleet_protocol.wire.errors import Exit, RoadsteadError, TrustError
from fleet_protocol.wire.words import words
from provisioning import proof
from provisioning.device.https import (
    DEFAULT_PACE,
    HttpsConnection,
    Pace,
    ServerRefusedError,
    ServerUnreachableError,
    parse_url,
    pinned_context,
    unverified_context,
)
from provisioning.device.identity import IdentityFolder, IdentityValues, request_for
from provisioning.token import Token

MAX_CA_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 64 * 1024
POLL_FIRST_S = 1.0
POLL_LONGEST_S = 15.0


class EnrolmentError(RoadsteadError):
    """The host cannot or must not enrol."""

    phase = "enrolling"
    component = "this host"
    code = "E0605"
    exit_status = Exit.CONFLICT


class EnrolmentTrustError(TrustError):
    """The server is not the one that the token names, or what it sent does not fit."""

    phase = "enrolling"
    component = "verifier"
    code = "E0606"


class Progress(NamedTuple):
    """What a person at the host can compare with what the operator sees."""

    status: str  # pending | approved | rejected
    request_id: str
    fingerprint: str
    device_id: str | None

    @property
    def words(self) -> str:
        """The fingerprint as eight words."""
        return words(self.fingerprint)


class Waiting(NamedTuple):
    """How to wait for approval; time and chance come from the caller."""

    for_s: float = 0.0  # 0: ask once
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


def enrol(
    token: Token,
    state: Path,
    name: str,
    *,
    host: Mapping[str, Any] | None = None,
    force: bool = False,
    waiting: Waiting = Waiting(),  # noqa: B008 - immutable
    said: Callable[[Progress], None] = lambda _progress: None,
    pace: Pace = DEFAULT_PACE,
) -> Progress:
    """Enrol this host; the last answer, `approved` once its identity is in place. `said` hears of each new status.

    Raises EnrolmentError (there is an identity already and not `force`, or the request was rejected),
    EnrolmentTrustError, ServerRefusedError, ServerUnreachableError.
    """
    folder = IdentityFolder(state)
    folder.put_in_place()
    if folder.exists() and not force:
        hint = "to give it another identity: edge-daemon enroll --force"
        raise EnrolmentError("it has an identity already", element=str(folder.final), hint=hint)
    ca_pem = fetch_ca(token, pace)
    connection = HttpsConnection(parse_url(token.url), pinned_context(ca_pem), pace)
    try:
        asked = _Asked(token, connection, folder, name, dict(host or {}))
        answer = _settled(asked, waiting, said)
    finally:
        connection.close()
    if answer.status == "approved":
        folder.commit(_checked(token, ca_pem, folder, answer))
    return _progress(answer)


def fetch_ca(token: Token, pace: Pace = DEFAULT_PACE) -> str:
    """The server's CA as PEM, if it is the one that the token pins. Raises EnrolmentTrustError."""
    connection = HttpsConnection(parse_url(token.url), unverified_context(), pace)
    try:
        pem = connection.exchange("GET", "/v1/ca", max_bytes=MAX_CA_BYTES).decode("ascii", "replace")
    finally:
        connection.close()
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise EnrolmentTrustError("what it calls its CA is no certificate", element=token.url) from error
    der = certificate.public_bytes(serialization.Encoding.DER)
    if hashlib.sha256(der).hexdigest() != token.ca_sha256:
        raise EnrolmentTrustError(
            "its CA is not the one that the token names",
            element=token.url,
            hint="somebody else answers at this address, or the token is of another server",
        )
    return ssl.DER_cert_to_PEM_cert(der)


class _Asked:
    """One request, which can be made again and again."""

    def __init__(
        self, token: Token, connection: HttpsConnection, folder: IdentityFolder, name: str, host: dict[str, Any]
    ) -> None:
        self._token = token
        self._connection = connection
        self._folder = folder
        self._name = name
        self._host = host
        self._request_id = ""

    def ask(self) -> EnrolAnswer:
        """Enrol the first time, then poll."""
        if self._request_id:
            poll = {"token_id": self._token.token_id, "proof": proof.poll_proof(self._token.secret, self._request_id)}
            return self._post(f"/v1/enrol/{self._request_id}/poll", poll)
        self._folder.key()
        csr_pem, csr_der = request_for(self._folder.draft / "device.key", self._name)
        wanted = {"token_id": self._token.token_id}
        answer = self._connection.exchange("POST", "/v1/enrol/challenge", body=wanted, max_bytes=MAX_ANSWER_BYTES)
        nonce = Challenge.parse(answer).nonce
        enrolled = self._post(
            "/v1/enrol",
            {
                "token_id": self._token.token_id,
                "nonce": nonce,
                "csr_pem": csr_pem,
                "proof": proof.enrol_proof(self._token.secret, nonce, csr_der),
                "requested_name": self._name,
                "host": self._host,
            },
        )
        self._request_id = enrolled.request_id
        return enrolled

    def _post(self, path: str, body: object) -> EnrolAnswer:
        answer = EnrolAnswer.parse(self._connection.exchange("POST", path, body=body, max_bytes=MAX_ANSWER_BYTES))
        if answer.fingerprint != self._folder.key().public.key_id:
            raise EnrolmentTrustError("its answer is about another key than ours", element=self._token.url)
        return answer


def _settled(asked: _Asked, waiting: Waiting, said: Callable[[Progress], None]) -> EnrolAnswer:
    """The answer once it is no longer pending, or the last one when the time is up."""
    ends = waiting.clock() + waiting.for_s
    pause, last_said = POLL_FIRST_S, ""
    while True:
        trouble: RoadsteadError | None = None
        try:
            answer = asked.ask()
        except (ServerUnreachableError, ServerRefusedError) as error:
            if not error.retry:
                raise
            trouble = error
        else:
            if answer.status != last_said:
                last_said = answer.status
                said(_progress(answer))
            if answer.status == "rejected":
                raise EnrolmentError("the operator rejected this host", element=answer.request_id)
            if answer.status == "approved":
                return answer
        delay = pause * (0.5 + waiting.chance() / 2)
        if waiting.clock() + delay > ends:
            if trouble is not None:
                raise trouble
            return answer
        waiting.sleep(delay)
        pause = min(pause * 1.5, POLL_LONGEST_S)


def _checked(token: Token, ca_pem: str, folder: IdentityFolder, answer: EnrolAnswer) -> IdentityValues:
    """What approval brought, or EnrolmentTrustError."""
    device_id, pem, broker, root = answer.device_id, answer.certificate_pem, answer.broker, answer.tuf_root
    if device_id is None or pem is None or broker is None or root is None:
        raise EnrolmentTrustError("it approved without all that belongs to an identity", element=token.url)
    check_certificate(pem, ca_pem, device_id, folder.key().public.key_id)
    if hashlib.sha256(root.encode()).hexdigest() != token.root_sha256:
        raise EnrolmentTrustError(
            "its root of release trust is not the one that the token names",
            element=token.url,
            hint="ask the operator for a new token: fleet enroll token",
        )
    return IdentityValues(device_id, token.url, broker.host, broker.port, pem, ca_pem, root)


def check_certificate(pem: str, ca_pem: str, device_id: str, fingerprint: str) -> None:
    """Raises EnrolmentTrustError unless it is `device_id`'s, for the key of this fingerprint, and the CA's."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem.encode()))
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise EnrolmentTrustError("our certificate is not signed by its CA", element=device_id) from error
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if hashlib.sha256(spki).hexdigest() != fingerprint:
        raise EnrolmentTrustError("our certificate is for another key", element=device_id)
    if [n.value for n in names] != [device_id] or ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise EnrolmentTrustError("our certificate is for another name or purpose", element=device_id)


def _progress(answer: EnrolAnswer) -> Progress:
    return Progress(answer.status, answer.request_id, answer.fingerprint, answer.device_id)
