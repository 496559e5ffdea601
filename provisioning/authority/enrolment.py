"""Enrolment as the server decides it: tokens, challenges, proofs, the approval queue, names, revocation, renewal.

Rules. Whoever lacks the token's secret learns nothing: an unknown, spent, expired or misused token gets one and the
same refusal, after the same work. A token's use is taken by the store's compare-and-set, once for each key: the
same token with the same key again is a retry and finds its request. A device is known to the broker before it
learns that it was approved. Nothing here reads a clock; what is durable is the store's.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from fleet_protocol.documents.enrolment import (
    BrokerAddress,
    Challenge,
    EnrolAnswer,
    EnrolmentRow,
    EnrolPoll,
    EnrolRequest,
    IssuedToken,
    NewToken,
)
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import Exit, RoadsteadError, inert
from fleet_protocol.wire.words import words
from provisioning import proof
from provisioning.authority import ca as certificates
from provisioning.authority import names
from provisioning.authority.ca import AllowedKey, DeviceCa
from provisioning.authority.nonces import Nonces
from provisioning.authority.records import Approval, DeviceRecord, EnrolmentRecord, EnrolmentStore, TokenRecord

ENROL = "enrol"
DECOY_SECRET = base64.urlsafe_b64encode(secrets.token_bytes(proof.SECRET_BYTES)).rstrip(b"=").decode()
MAX_HOST_BYTES = 8 * 1024
SYSTEM = "token"  # who decided, where the token did


class EnrolmentRefusedError(RoadsteadError):
    """The one answer to whoever holds no good token: it does not say which part was wrong."""

    phase = "enrolling"
    component = "enrolment"
    code = "E0602"
    exit_status = Exit.NOT_ALLOWED

    def __init__(self) -> None:
        super().__init__(
            "the token is unknown, used up, expired, or not yours",
            hint="ask for a new one: fleet enroll token",
        )


class NoSuchRequestError(RoadsteadError):
    """An operator named a request, or a device, that does not exist."""

    phase = "deciding an enrolment"
    component = "enrolment"
    code = "E0603"
    exit_status = Exit.NOT_FOUND


class DecidedError(RoadsteadError):
    """An operator's decision that can no longer be taken, or not like this."""

    phase = "deciding an enrolment"
    component = "enrolment"
    code = "E0604"
    exit_status = Exit.CONFLICT


@dataclass(frozen=True, slots=True)
class Offer:
    """What an approved device is told besides its certificate."""

    url: str
    broker_host: str
    broker_port: int
    tuf_root: Callable[[], str | None]  # root.json, version 1; None while no root was uploaded


class EnrolmentDesk:
    """All of enrolment over one store.

    `identities_changed` is called after each commit that changes who may speak to the broker, and before anybody is
    told of it. It brings the broker's files up to date, is cheap when they are, and may raise: whoever asks again
    makes it be called again.
    """

    def __init__(
        self,
        store: EnrolmentStore,
        authority: DeviceCa,
        nonces: Nonces,
        offer: Offer,
        identities_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._ca = authority
        self._nonces = nonces
        self._offer = offer
        self._identities_changed = identities_changed

    # --- tokens

    def issue_token(self, wish: NewToken, now: int, by: str = "") -> IssuedToken:
        """A new token; its secret leaves the server here and never again. Raises DecidedError for an idle wish."""
        if wish.device_id is not None:
            if wish.uses != 1:
                raise DecidedError("a token that fixes the name has one use", element=wish.device_id)
            if names.is_reserved(wish.device_id):
                reserved = f"names that begin with {names.RESERVED!r} are the server's own"
                raise DecidedError(reserved, element=wish.device_id)
            if self._store.device(wish.device_id) is not None:
                raise DecidedError("a device has or had that name", element=wish.device_id)
        token = TokenRecord(
            token_id=_identifier(),
            secret=base64.urlsafe_b64encode(secrets.token_bytes(proof.SECRET_BYTES)).rstrip(b"=").decode(),
            labels=dict(wish.labels),
            uses=wish.uses,
            uses_left=wish.uses,
            issued_at=now,
            expires=now + wish.ttl_s,
            auto_approve=wish.auto_approve,
            device_id=wish.device_id,
            issued_by=by,
        )
        self._store.add_token(token)
        return IssuedToken(
            token_id=token.token_id,
            secret=token.secret,
            expires=token.expires,
            url=self._offer.url,
            ca_sha256=self._ca.sha256,
        )

    # --- the device's side

    def challenge(self, token_id: str, now: int) -> Challenge:
        """A nonce. No token is looked up, so there is nothing to learn from the answer or its time."""
        return Challenge(nonce=self._nonces.issue(ENROL, token_id, now))

    def enrol(self, request: EnrolRequest, now: int) -> EnrolAnswer:
        """Admit a key. Raises EnrolmentRefusedError (bad proof), CsrRefusedError (good proof, bad request)."""
        token = self._store.token(request.token_id)
        fresh = self._nonces.holds(request.nonce, ENROL, request.token_id, now)
        # The proof is over the request's DER; what has none is proven over its bytes as they came, and then refused.
        key, der, unreadable = _read_csr(request.csr_pem)
        wanted = proof.enrol_proof(token.secret if token else DECOY_SECRET, request.nonce, der)
        proven = hmac.compare_digest(wanted, request.proof)
        if token is None or not (fresh and proven) or not self._nonces.spend(request.nonce, now):
            raise EnrolmentRefusedError
        if key is None:
            raise unreadable or EnrolmentRefusedError
        fingerprint = certificates.fingerprint(key)
        record = self._store.admit(
            EnrolmentRecord(
                request_id=_identifier(),
                token_id=token.token_id,
                status="pending",
                requested_name=inert(request.requested_name),
                fingerprint=fingerprint,
                public_pem=certificates.public_pem(key),
                labels=dict(token.labels),
                asked_at=now,
                host=_bounded(request.host),
            ),
            now,
        )
        if record is None:
            raise EnrolmentRefusedError
        return self._answer(self._approve_by_token(record, token, now))

    def poll(self, request_id: str, asked: EnrolPoll, now: int) -> EnrolAnswer:
        """What became of a request. A token that is used up or expired still polls what it started."""
        token = self._store.token(asked.token_id)
        record = self._store.enrolment(request_id)
        wanted = proof.poll_proof(token.secret if token else DECOY_SECRET, request_id)
        proven = hmac.compare_digest(wanted, asked.proof)
        if token is None or record is None or record.token_id != token.token_id or not proven:
            raise EnrolmentRefusedError
        return self._answer(self._approve_by_token(record, token, now))

    # --- the operator's side

    def rows(self) -> list[EnrolmentRow]:
        """The queue and its history, newest first."""
        return [_row(record) for record in self._store.enrolments()]

    def approve(self, request_id: str, by: str, now: int) -> EnrolmentRow:
        """Certify a request. Raises NoSuchRequestError, DecidedError."""
        record = self._record(request_id)
        if record.status != "pending":
            raise DecidedError(f"it was {record.status} before", element=request_id)
        token = self._store.token(record.token_id)
        return _row(self._approve(record, token.device_id if token else None, by, now))

    def reject(self, request_id: str, by: str, now: int) -> EnrolmentRow:
        """Turn a request down for good. Raises NoSuchRequestError, DecidedError."""
        if not self._store.reject(request_id, by, now):
            record = self._record(request_id)
            raise DecidedError(f"it was {record.status} before", element=request_id)
        return _row(self._record(request_id))

    def revoke(self, device_id: str, now: int) -> None:
        """End a device's identity, at once and for good. Safe to repeat. Raises NoSuchRequestError."""
        if self._store.device(device_id) is None:
            raise NoSuchRequestError("there is no such device", element=device_id)
        self._store.revoke(device_id, now)
        self._identities_changed()

    # --- within

    def _approve_by_token(self, record: EnrolmentRecord, token: TokenRecord, now: int) -> EnrolmentRecord:
        """Also finishes what a server that was killed between admitting and approving left pending."""
        if record.status == "pending" and token.auto_approve:
            try:
                return self._approve(record, token.device_id, SYSTEM, now)
            except DecidedError:  # the fixed name went to another, or an operator was quicker: the queue decides
                return self._record(record.request_id)
        return record

    def _approve(self, record: EnrolmentRecord, fixed: str | None, by: str, now: int) -> EnrolmentRecord:
        wish = fixed or names.sanitised(record.requested_name, record.fingerprint)
        for name in [fixed] if fixed else names.candidates(wish):
            match self._store.approve(record.request_id, self._certified(record, name, now), by):
                case Approval.DONE:
                    self._identities_changed()
                    return self._record(record.request_id)
                case Approval.NOT_PENDING:
                    decided = self._record(record.request_id)
                    raise DecidedError(f"it was {decided.status} before", element=record.request_id)
                case Approval.NAME_TAKEN:
                    continue
        raise DecidedError(f"the name {wish} belongs to another device", element=record.request_id)

    def _certified(self, record: EnrolmentRecord, name: str, now: int) -> DeviceRecord:
        issued = self._ca.issue_device(name, certificates.load_public_pem(record.public_pem), now)
        return DeviceRecord(
            device_id=name,
            labels=record.labels,
            fingerprint=record.fingerprint,
            public_pem=record.public_pem,
            certificate_pem=issued.pem,
            certificate_serial=issued.serial,
            certificate_expires=issued.expires,
            enrolled_at=now,
        )

    def _answer(self, record: EnrolmentRecord) -> EnrolAnswer:
        answer = EnrolAnswer(request_id=record.request_id, status="pending", fingerprint=record.fingerprint)
        device = self._store.device(record.device_id) if record.device_id else None
        if record.status == "rejected" or (device is not None and device.revoked_at is not None):
            return answer.model_copy(update={"status": "rejected"})
        root = self._offer.tuf_root()
        if device is None or root is None:  # approved, but with no root to trust yet: the device keeps asking
            return answer
        self._identities_changed()  # again, in case that it failed when the request was approved
        return EnrolAnswer(
            status="approved",
            request_id=record.request_id,
            fingerprint=record.fingerprint,
            device_id=device.device_id,
            certificate_pem=device.certificate_pem,
            ca_pem=self._ca.pem,
            broker=BrokerAddress(host=self._offer.broker_host, port=self._offer.broker_port),
            tuf_root=root,
        )

    def _record(self, request_id: str) -> EnrolmentRecord:
        record = self._store.enrolment(request_id)
        if record is None:
            raise NoSuchRequestError("there is no such request", element=request_id)
        return record


def _read_csr(pem: str) -> tuple[AllowedKey | None, bytes, RoadsteadError | None]:
    try:
        key, der = certificates.public_key_of_csr(pem)
    except certificates.CsrRefusedError as error:
        return None, certificates.der_of_pem(pem), error
    return key, der, None


def _bounded(host: dict[str, object]) -> dict[str, object]:
    """What the host says of itself, if it is small; it is shown to operators and decides nothing."""
    return host if len(strict_json.dumps(host)) <= MAX_HOST_BYTES else {}


def _row(record: EnrolmentRecord) -> EnrolmentRow:
    return EnrolmentRow(
        request_id=record.request_id,
        status=record.status,
        device_id=record.device_id,
        requested_name=record.requested_name,
        fingerprint=record.fingerprint,
        words=words(record.fingerprint),
        labels=dict(record.labels),
        asked_at=record.asked_at,
        host=dict(record.host),
    )


def _identifier() -> str:
    """96 bits in lower-case base32: what fits `Ident`."""
    return base64.b32encode(secrets.token_bytes(15)).decode().lower()
