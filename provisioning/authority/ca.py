"""The device CA: one P-256 certificate authority for devices, the server, and the broker.

Every field of every certificate is written here; of a request only the public key is taken, and only if it is of an
allowed kind. A device's certificate can speak as a client only, the server's as a server only, so one CA serves
both.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_protocol.wire.bounds import ID_PATTERN, matches
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import DocumentInvalidError, RoadsteadError

CA_DAYS = 20 * 365
SERVER_DAYS = 2 * 365
DEVICE_DAYS = 30
BACKDATE = timedelta(hours=1)  # a relying party's clock may be a little behind
MAX_CSR_BYTES = 16 * 1024

AllowedKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class CaError(RoadsteadError):
    """The CA's own files are not usable."""

    phase = "opening the device CA"
    component = "authority"
    code = "E0611"


class CsrRefusedError(DocumentInvalidError):
    """A certificate request that no certificate is issued for."""

    phase = "reading a certificate request"
    component = "authority"
    code = "E0612"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just signed."""

    pem: str
    serial: int
    expires: int


class DeviceCa:
    """Signs certificates and revocation lists. Its key never leaves it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Raises CaError if the two do not belong together."""
        if key.public_key() != certificate.public_key():
            raise CaError("ca.key and ca.pem do not belong together")
        self._key = key
        self.certificate = certificate
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.sha256 = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    @classmethod
    def create(cls, name: str, now: int) -> DeviceCa:
        """A new CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Roadstead device CA {name}"[:64])])
        builder = _builder(subject, subject, key.public_key(), now, CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def load(cls, folder: Path) -> DeviceCa:
        """The CA in `folder` (ca.key, ca.pem). Raises CaError."""
        key_file = folder / "ca.key"
        try:
            if key_file.stat().st_mode & 0o077:
                raise CaError("others may read it", element=str(key_file), hint=f"chmod 600 {key_file}")
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CaError(f"{error}", element=str(folder)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CaError("wants a P-256 key", element=str(key_file))
        return cls(key, certificate)

    def save(self, folder: Path) -> None:
        """Write ca.key (0600) and ca.pem durably. An existing key is never replaced (CaError)."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / "ca.key").exists():
            raise CaError("there is a CA already", element=str(folder))
        replace_durably(folder / "ca.pem", self.pem.encode(), 0o644)
        replace_durably(folder / "ca.key", private_pem(self._key), 0o600)

    def issue_device(self, device_id: str, public_key: AllowedKey, now: int, days: int = DEVICE_DAYS) -> Issued:
        """A client certificate whose common name is `device_id`."""
        if not matches(ID_PATTERN, device_id):
            raise ValueError(f"not a device identifier: {device_id!r}")
        return self._leaf(device_id, public_key, now, days, server=False)

    def issue_server(self, names: list[str], public_key: AllowedKey, now: int, days: int = SERVER_DAYS) -> Issued:
        """A server certificate for DNS names and IP addresses; `pem` is the chain, CA included."""
        issued = self._leaf(names[0][:64], public_key, now, days, server=True, names=names)
        return Issued(issued.pem + self.pem, issued.serial, issued.expires)

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """The list, signed and named as this CA's."""
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        named = builder.issuer_name(self.certificate.subject).add_extension(identifier, critical=False)
        return named.sign(self._key, hashes.SHA256())

    def _leaf(
        self, name: str, public_key: AllowedKey, now: int, days: int, *, server: bool, names: list[str] | None = None
    ) -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self.certificate.subject, public_key, now, days)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return Issued(pem, certificate.serial_number, int(certificate.not_valid_after_utc.timestamp()))


def public_key_of_csr(csr_pem: str) -> tuple[AllowedKey, bytes]:
    """The public key of a request, and the request's DER. Raises CsrRefusedError.

    Everything else in it (subject, extensions, attributes) is read by nobody. The request's own signature must hold:
    it shows that the sender has the private key.
    """
    if len(csr_pem) > MAX_CSR_BYTES:
        raise CsrRefusedError("it is too long")
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        der = csr.public_bytes(serialization.Encoding.DER)
        key = csr.public_key()
        signed = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise CsrRefusedError("it cannot be read", hint="a PKCS#10 request with a P-256 key is wanted") from error
    if not is_allowed_key(key):
        raise CsrRefusedError("its key is of a kind that is not allowed", hint="P-256 (or Ed25519) is wanted")
    if not signed:
        raise CsrRefusedError("it is not signed by the key that it names")
    assert isinstance(key, AllowedKey)
    return key, der


def der_of_pem(csr_pem: str) -> bytes:
    """The bytes between the armour lines of what need not be a request at all; b"" where there is nothing readable.

    The sender of an unreadable request can be told so only after it has proven the token's secret over these bytes.
    """
    lines = [line.strip() for line in csr_pem[:MAX_CSR_BYTES].splitlines()]
    try:
        return base64.b64decode("".join(line for line in lines if not line.startswith("-----")), validate=True)
    except ValueError:
        return b""


def load_public_pem(pem: str) -> AllowedKey:
    """A key that `public_pem` wrote."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, AllowedKey) or not is_allowed_key(key):
        raise CaError("a stored public key is not of an allowed kind")
    return key


def is_allowed_key(key: object) -> bool:
    """P-256 or Ed25519, and nothing else: no RSA of any size, no other curve."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


def public_pem(key: AllowedKey) -> str:
    """SubjectPublicKeyInfo as PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form).decode()


def fingerprint(key: AllowedKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in DER, as hex."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(encoding, form)).hexdigest()


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 without a password: the file's permissions protect it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key for the server, the broker or a canary."""
    return ec.generate_private_key(ec.SECP256R1())


def wants_replacement(certificate_pem: str, now: int) -> bool:
    """Whether two thirds of a certificate's life are over."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    begins = certificate.not_valid_before_utc.timestamp()
    ends = certificate.not_valid_after_utc.timestamp()
    return now >= begins + (ends - begins) * 2 / 3


def pair_serves(certificate: Path, key: Path, now: int, names: Iterable[str] = ()) -> bool:
    """Whether the two files belong together, hold `names`, and have a third of their life left.

    A crash between the writing of the one and of the other leaves two that do not.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        return False
    held: set[str] = set()
    if names:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        held = {str(alternative.value) for alternative in alternatives}
    pem = found.public_bytes(serialization.Encoding.PEM).decode()
    together = private.public_key() == found.public_key()
    return together and set(names) <= held and not wants_replacement(pem, now)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: AllowedKey, now: int, days: int
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
