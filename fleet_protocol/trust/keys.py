"""Ed25519 and P-256 keys over `cryptography`; nothing else is accepted.

A key's id is the SHA-256 (hex) of its SubjectPublicKeyInfo in DER.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import DocumentInvalidError

KEY_KINDS = "Ed25519 or ECDSA P-256 (PEM)"


class PublicKey:
    """One public key."""

    def __init__(self, pem: bytes) -> None:
        """Raises DocumentInvalidError for anything but an Ed25519 or P-256 public key in PEM."""
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise DocumentInvalidError(f"not a public key: wants {KEY_KINDS}", element="public key") from error
        if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, ec.SECP256R1):
            raise DocumentInvalidError(f"curve {key.curve.name}: wants {KEY_KINDS}", element="public key")
        if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise DocumentInvalidError(f"wants {KEY_KINDS}", element="public key")
        self._key = key
        self.pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(der).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` over `message` is this key's (ECDSA: DER form, SHA-256)."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """Whatever holds a private key: a file now, PKCS#11 or another process later."""

    @property
    def public(self) -> PublicKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`."""


class FileSigner:
    """An Ed25519 or P-256 key in a PKCS#8 PEM file of mode 0600, encrypted or not."""

    def __init__(self, path: Path, passphrase: bytes | None = None) -> None:
        """Raises DocumentInvalidError if the file holds no such key, others may read it, or the passphrase is wrong."""
        if path.stat().st_mode & 0o077:
            raise DocumentInvalidError(f"{path} may be read by others: chmod 600 {path}", element="private key")
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=passphrase)
        except TypeError as error:
            why = "is encrypted: give its passphrase" if passphrase is None else "is not encrypted: no passphrase"
            raise DocumentInvalidError(why, element=str(path)) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise DocumentInvalidError("is no private key, or the passphrase is wrong", element=str(path)) from error
        if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise DocumentInvalidError(f"wants {KEY_KINDS}", element=str(path))
        self._key = key
        self.public = PublicKey(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def sign(self, message: bytes) -> bytes:
        """A raw Ed25519 signature, or ECDSA with SHA-256 in DER form."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def generate_ed25519(path: Path, passphrase: bytes | None = None) -> PublicKey:
    """A new private key, written durably with mode 0600; an existing file is never replaced (FileExistsError)."""
    if path.exists():
        raise FileExistsError(path)
    key = ed25519.Ed25519PrivateKey.generate()
    locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        locked = serialization.BestAvailableEncryption(passphrase)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    replace_durably(path, pem, 0o600)
    return FileSigner(path, passphrase or None).public
