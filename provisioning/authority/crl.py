"""The revocation list that the broker reads, made and checked before it may take the old one's place.

Two faults of a list cut a fleet off or let everybody in: mosquitto 2.0 refuses everybody once `nextUpdate` has
passed, and on a reload lets everybody in when the file cannot be parsed. So a list lives for ten years, is signed
anew whenever it is written, always names the revoked canary, and is verified as a stranger would before it is
renamed into place.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from fleet_protocol.wire.errors import RoadsteadError
from provisioning.authority.ca import DeviceCa
from provisioning.authority.records import RevokedCertificate

LIFE = timedelta(days=3652)
LEAST_LIFE = timedelta(days=365)
END = b"-----END X509 CRL-----\n"


class CrlUnsafeError(RoadsteadError):
    """A revocation list that must not reach the broker."""

    phase = "checking the revocation list"
    component = "authority"
    code = "E0613"


def make_crl(ca: DeviceCa, revoked: Iterable[RevokedCertificate], now: int) -> bytes:
    """A list in PEM of all of `revoked`, good for ten years."""
    at = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateRevocationListBuilder().last_update(at - timedelta(hours=1)).next_update(at + LIFE)
    for entry in sorted(revoked, key=lambda r: r.serial):
        one = x509.RevokedCertificateBuilder().serial_number(entry.serial)
        builder = builder.add_revoked_certificate(one.revocation_date(datetime.fromtimestamp(entry.at, UTC)).build())
    builder = builder.add_extension(x509.CRLNumber(now), critical=False)
    return ca.sign_crl(builder).public_bytes(serialization.Encoding.PEM)


def check_crl(data: bytes, ca: x509.Certificate, serials: Iterable[int], now: int) -> None:
    """Raises CrlUnsafeError unless `data` is one whole list, signed by `ca`, long-lived, that names all `serials`."""
    if data.count(b"-----BEGIN X509 CRL-----") != 1 or not data.endswith(END):
        raise CrlUnsafeError("it is not one whole list in PEM")
    try:
        crl = x509.load_pem_x509_crl(data)
        key = ca.public_key()
        signed = crl.issuer == ca.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]
        listed = {entry.serial_number for entry in crl}
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CrlUnsafeError("it cannot be read") from error
    if not signed:
        raise CrlUnsafeError("the device CA did not sign it")
    at = datetime.fromtimestamp(now, UTC)
    if crl.next_update_utc is None or crl.next_update_utc < at + LEAST_LIFE:
        raise CrlUnsafeError("it ends within a year: the broker would then refuse every device")
    if crl.last_update_utc > at:
        raise CrlUnsafeError("it begins in the future: the broker would refuse every device until then")
    if missing := set(serials) - listed:
        raise CrlUnsafeError(f"it lacks {len(missing)} revoked certificates")
