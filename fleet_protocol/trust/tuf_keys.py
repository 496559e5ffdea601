"""Our keys in TUF's clothes. The key id is the one TUF computes (SHA-256 of the key's canonical JSON)."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fleet_protocol.trust import tuf_api as ssl
from fleet_protocol.trust.errors import MetadataError
from fleet_protocol.trust.keys import PublicKey, Signer

_SCHEMES = {("ed25519", "ed25519"), ("ecdsa", "ecdsa-sha2-nistp256")}


def tuf_key(public: PublicKey) -> ssl.SSlibKey:
    """`public` as it stands in root and delegations."""
    return ssl.SSlibKey.from_crypto(load_pem_public_key(public.pem))


class TufSigner(ssl.Signer):
    """Lets any of our signers sign TUF metadata."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._key = tuf_key(signer.public)

    @property
    def public_key(self) -> ssl.SSlibKey:
        """The public half."""
        return self._key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: ssl.Key, secrets_handler: ssl.SecretsHandler | None = None
    ) -> ssl.Signer:
        """Keys are never looked up by URI here."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> ssl.Signature:
        """One signature with TUF's key id."""
        return ssl.Signature(self._key.keyid, self._signer.sign(payload).hex())


def check_tuf_key(key_id: str, key: ssl.Key) -> None:
    """Refuse other kinds of keys, and one key in two spellings, which would count twice towards a threshold."""
    if (key.keytype, key.scheme) not in _SCHEMES:
        raise MetadataError(
            f"key {key_id[:8]} is {key.keytype}/{key.scheme}: wants Ed25519 or P-256", element="metadata"
        )
    if key.unrecognized_fields or set(key.keyval) != {"public"} or not isinstance(key, ssl.SSlibKey):
        raise MetadataError(f"key {key_id[:8]} has fields that do not belong there", element="metadata")
    try:
        again = ssl.SSlibKey.from_crypto(key._crypto_key())  # noqa: SLF001 (the only way to the parsed key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MetadataError(f"key {key_id[:8]} is not a key", element="metadata") from error
    if again.keyid != key_id or again.keyval != key.keyval:
        raise MetadataError(f"key {key_id[:8]} is not named by its own hash", element="metadata")
