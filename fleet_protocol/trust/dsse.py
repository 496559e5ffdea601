"""DSSE envelopes (https://github.com/secure-systems-lab/dsse, v1.0.2): raw bytes signed, one verified parse.

`verify` returns the verified bytes, and only those; the envelope does not leave this module.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fleet_protocol.trust.keys import PublicKey, Signer
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, TrustError

MAX_SIGNATURES = 4


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signer: Signer) -> bytes:
    """An envelope with one signature, as compact JSON."""
    signature = signer.sign(pae(payload_type, payload))
    return strict_json.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [{"keyid": signer.public.key_id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def verify(envelope: bytes, payload_type: str, keys: tuple[PublicKey, ...], *, max_bytes: int) -> bytes:
    """The payload, if any one of `keys` signed it under exactly `payload_type`.

    Raises DocumentInvalidError for what is no envelope, TrustError for what nobody trusted signed.
    """
    fields = strict_json.loads(envelope, max_bytes=max_bytes, what="signed envelope")
    if not isinstance(fields, dict) or set(fields) != {"payload", "payloadType", "signatures"}:
        raise DocumentInvalidError("wants exactly payload, payloadType and signatures", element="signed envelope")
    if fields["payloadType"] != payload_type:
        kind = str(fields["payloadType"])[:80]
        raise TrustError(f"is of type {kind!r}, wants {payload_type!r}", element="signed envelope")
    payload = _decoded(fields["payload"])
    signatures = _signatures(fields["signatures"])
    message = pae(payload_type, payload)
    # The key id is a hint only: every trusted key is tried, so a wrong hint can neither help nor hinder.
    if not any(key.verifies(signature, message) for signature in signatures for key in keys):
        raise TrustError("no trusted key signed it", element="signed envelope")
    return payload


def _signatures(value: Any) -> list[bytes]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIGNATURES:
        raise DocumentInvalidError(f"wants 1 to {MAX_SIGNATURES} signatures", element="signed envelope")
    if not all(isinstance(s, dict) and set(s) <= {"keyid", "sig"} and "sig" in s for s in value):
        raise DocumentInvalidError("a signature has fields that do not belong there", element="signed envelope")
    return [_decoded(s["sig"]) for s in value]


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise DocumentInvalidError("wants base64 text", element="signed envelope")
    try:
        data = base64.b64decode(value, validate=True)
        # One spelling only: the decoder takes any bits in the last, partly used character.
        if base64.b64encode(data).decode() != value:
            raise DocumentInvalidError("not canonical base64", element="signed envelope")
        return data
    except (binascii.Error, ValueError) as error:
        raise DocumentInvalidError("not base64", element="signed envelope") from error
