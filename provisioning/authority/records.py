"""What enrolment remembers, and the store that it asks for.

The store lives with whoever runs the server; `EnrolmentDesk` is its only consumer. Every call is synchronous and,
where it writes, one transaction: what it promises to decide (a token's last use, a device's name) it decides by one
compare-and-set statement, never by reading first and writing later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, Protocol

RequestStatus = Literal["pending", "approved", "rejected"]


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One enrolment token. The secret is here because checking an HMAC needs it; it is shown to nobody again."""

    token_id: str
    secret: str  # base64url, 256 bits
    labels: Mapping[str, str]
    uses: int
    uses_left: int
    issued_at: int
    expires: int
    auto_approve: bool
    device_id: str | None  # fixes the device's name
    issued_by: str = ""


@dataclass(frozen=True, slots=True)
class EnrolmentRecord:
    """One request: a public key that a token's holder asked to have certified."""

    request_id: str
    token_id: str
    status: RequestStatus
    requested_name: str
    fingerprint: str  # SHA-256 of the public key (SubjectPublicKeyInfo, DER), hex
    public_pem: str
    labels: Mapping[str, str]
    asked_at: int
    host: Mapping[str, Any] = field(default_factory=dict)
    device_id: str | None = None  # set by approval
    decided_at: int | None = None
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """One device's identity. A revoked device keeps its row for ever: its name is never given out again, because the
    broker knows devices by name, and a session of the old holder would come back to life with it."""

    device_id: str
    labels: Mapping[str, str]
    fingerprint: str
    public_pem: str
    certificate_pem: str
    certificate_serial: int  # up to 159 bits: store it as text
    certificate_expires: int
    enrolled_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One entry of the revocation list."""

    serial: int
    at: int


class Approval(Enum):
    """What became of an attempt to approve."""

    DONE = "done"
    NAME_TAKEN = "the name belongs to another device"
    NOT_PENDING = "the request was decided before"


class EnrolmentStore(Protocol):
    """Durable memory of enrolment. Rows are returned as they were stored, in every field."""

    def add_token(self, token: TokenRecord) -> None:
        """Store a new token."""

    def token(self, token_id: str) -> TokenRecord | None:
        """The token, spent and expired ones included, or None."""

    def tokens(self) -> list[TokenRecord]:
        """All tokens, newest first."""

    def admit(self, request: EnrolmentRecord, now: int) -> EnrolmentRecord | None:
        """Take one use of `request.token_id` for this request and store it; the stored record, or None.

        In one transaction: a request of the same token and fingerprint is returned as it stands and takes no use (a
        retry); else `UPDATE tokens SET uses_left = uses_left - 1 WHERE token_id = ? AND uses_left > 0 AND expires > ?`
        decides: no row changed is None and nothing stored. (token_id, fingerprint) is unique.
        """

    def enrolment(self, request_id: str) -> EnrolmentRecord | None:
        """One request, or None."""

    def enrolments(self) -> list[EnrolmentRecord]:
        """All requests, newest first."""

    def approve(self, request_id: str, device: DeviceRecord, by: str) -> Approval:
        """In one transaction: insert the device, and mark the request approved with its name.

        The update is `WHERE request_id = ? AND status = 'pending'`; a device_id that was ever used, by a revoked device
        too, is NAME_TAKEN. Anything but DONE leaves everything as it was. `device.enrolled_at` is the moment.
        """

    def reject(self, request_id: str, by: str, now: int) -> bool:
        """Mark a pending request rejected; False if it was not pending."""

    def device(self, device_id: str) -> DeviceRecord | None:
        """One device, revoked ones included, or None."""

    def active_device_ids(self) -> list[str]:
        """Names of all devices that are not revoked, sorted."""

    def replace_certificate(self, device_id: str, old_serial: int, renewed: DeviceRecord, now: int) -> bool:
        """Give an active device the key and certificate of `renewed` and remember `old_serial` as one of its earlier
        certificates; False if the device is revoked, or its certificate is no longer `old_serial`."""

    def revoke(self, device_id: str, now: int) -> bool:
        """Mark an active device revoked; False if it is unknown or revoked already."""

    def revoked_certificates(self) -> list[RevokedCertificate]:
        """Every certificate, present or earlier, of every revoked device."""
