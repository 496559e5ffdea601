"""Documents of enrolment and of a device's HTTPS session.

Proofs are HMAC-SHA256 with the token's secret, in hex, over a label, a NUL and the named parts:
see `provisioning.proof`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import DeviceId, Document, Labels, OpenDocument, Sha256, Text, UnixTime

Nonce = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22,86}$")]  # base64url, 128 to 512 bits
Pem = Annotated[str, StringConstraints(max_length=16 * 1024)]
Ident = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{8,40}$")]


class EnrolChallengeRequest(Document):
    """POST /v1/enrol/challenge."""

    token_id: Ident


class Challenge(OpenDocument):
    """Answer of both challenge routes; a nonce is good for one use within 300 s."""

    nonce: Nonce


class EnrolRequest(Document):
    """POST /v1/enrol. proof = HMAC(secret, "roadstead-enrol-v1" NUL nonce NUL sha256-hex(csr DER))."""

    token_id: Ident
    nonce: Nonce
    csr_pem: Pem
    proof: Sha256
    requested_name: Annotated[str, StringConstraints(max_length=64)] = ""
    host: Annotated[dict[str, Any], Field(max_length=64)] = {}


class EnrolPoll(Document):
    """POST /v1/enrol/{request_id}/poll. proof = HMAC(secret, "roadstead-enrol-poll-v1" NUL request_id)."""

    token_id: Ident
    proof: Sha256


class BrokerAddress(OpenDocument):
    """Where the device finds the broker."""

    host: Annotated[str, StringConstraints(max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)]


class EnrolAnswer(OpenDocument):
    """Answer of enrol and poll; the last five fields come with `approved`."""

    request_id: Ident
    status: Literal["pending", "approved", "rejected"]
    fingerprint: Sha256  # of the public key (SubjectPublicKeyInfo, DER)
    device_id: DeviceId | None = None
    certificate_pem: Pem | None = None
    ca_pem: Pem | None = None
    broker: BrokerAddress | None = None
    tuf_root: str | None = None  # root.json, version 1, as text; the device compares its SHA-256 with the token's pin


class SessionChallengeRequest(Document):
    """POST /v1/device/challenge."""

    device_id: DeviceId


class SessionRequest(Document):
    """POST /v1/device/session. signature (base64) by the device's key over
    "roadstead-device-session-v1" NUL device_id NUL nonce (ECDSA P-256 SHA-256, DER)."""

    device_id: DeviceId
    nonce: Nonce
    signature: Annotated[str, StringConstraints(max_length=256)]


class Session(OpenDocument):
    """Bearer token for metadata, blobs and values."""

    token: Annotated[str, StringConstraints(max_length=128)]
    expires_in_s: int


class TimeRequest(Document):
    """POST /v1/time; the answer is a DSSE envelope (type TIME_TYPE) over TimeStatement."""

    nonce: Nonce


TIME_TYPE = "application/vnd.roadstead.time.v1+json"


class TimeStatement(Document):
    """The time, for the one who asked with this nonce."""

    nonce: Nonce
    time: UnixTime


# --- the operator's side


class NewToken(Document):
    """POST /v1/tokens."""

    labels: Labels = {}
    uses: Annotated[int, Field(ge=1, le=10_000)] = 1
    ttl_s: Annotated[int, Field(ge=60, le=30 * 86400)] = 86400
    auto_approve: bool = False
    device_id: DeviceId | None = None  # fixes the name; only with uses = 1


class IssuedToken(OpenDocument):
    """The secret is shown once and stored as needed to check a proof, nowhere else."""

    token_id: Ident
    secret: Annotated[str, StringConstraints(max_length=128)]  # base64url, 256 bits
    expires: UnixTime
    url: str  # the server as devices reach it
    ca_sha256: Sha256


class EnrolmentRow(OpenDocument):
    """GET /v1/enrolments."""

    request_id: Ident
    status: Literal["pending", "approved", "rejected"]
    device_id: DeviceId | None = None
    requested_name: Text
    fingerprint: Sha256
    words: Text
    labels: Labels
    asked_at: UnixTime
    host: dict[str, Any]
