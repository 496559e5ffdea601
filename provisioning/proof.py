"""What both sides of enrolment compute alike: proofs of a token's secret, and the message that a session signs.

Standard library only. Every message starts with a label of its own, so that a proof made for one purpose is worth
nothing for another, and its parts are joined by NUL, which no part can contain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from fleet_protocol.wire.errors import DocumentInvalidError

SECRET_BYTES = 32
ENROL_LABEL = b"roadstead-enrol-v1"
POLL_LABEL = b"roadstead-enrol-poll-v1"
SESSION_LABEL = b"roadstead-device-session-v1"
RENEWAL_LABEL = b"roadstead-device-renewal-v1"


def enrol_proof(secret: str, nonce: str, csr_der: bytes) -> str:
    """Hex HMAC-SHA256 that binds the token's secret to this nonce and this certificate request."""
    return _hmac(secret, ENROL_LABEL, nonce.encode(), hashlib.sha256(csr_der).hexdigest().encode())


def poll_proof(secret: str, request_id: str) -> str:
    """Hex HMAC-SHA256 that lets the token's holder ask what became of a request."""
    return _hmac(secret, POLL_LABEL, request_id.encode())


def session_message(device_id: str, nonce: str) -> bytes:
    """What the device's key signs to open a session."""
    return _joined(SESSION_LABEL, device_id.encode(), nonce.encode())


def renewal_message(device_id: str, nonce: str, csr_der: bytes) -> bytes:
    """What the device's present key signs to ask for a certificate of its next key."""
    return _joined(RENEWAL_LABEL, device_id.encode(), nonce.encode(), hashlib.sha256(csr_der).hexdigest().encode())


def secret_bytes(secret: str) -> bytes:
    """The 256 bits that a token's text form (base64url without padding) stands for. Raises DocumentInvalidError."""
    try:
        data = base64.b64decode(secret + "=" * (-len(secret) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DocumentInvalidError("its secret is not base64url", element="enrolment token") from error
    if len(data) != SECRET_BYTES:
        raise DocumentInvalidError(f"its secret has {len(data) * 8} bits, not 256", element="enrolment token")
    return data


def _hmac(secret: str, *parts: bytes) -> str:
    return hmac.new(secret_bytes(secret), _joined(*parts), hashlib.sha256).hexdigest()


def _joined(*parts: bytes) -> bytes:
    if any(b"\0" in part for part in parts):
        raise DocumentInvalidError("a part of a proof contains NUL", element="proof")
    return b"\0".join(parts)
