from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from provisioning_support import Desk, make_csr

from provisioning.authority.ca import CsrRefusedError


def test_threat_61_nothing_but_the_public_key_is_taken_from_a_request(desk: Desk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    hostile = make_csr(
        key,
        "roadstead-server",
        ca=x509.BasicConstraints(ca=True, path_length=None),
        names=x509.SubjectAlternativeName([x509.DNSName("fleet.example"), x509.DNSName("*")]),
        purpose=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        odd=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\xff" * 500),
    )
    answer = desk.enrol(desk.token(auto_approve=True), hostile)
    assert answer.certificate_pem is not None
    made = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
    assert made.public_key() == key.public_key()
    assert made.subject.rfc4514_string() == "CN=cam-1"
    assert {e.oid._name: e.critical for e in made.extensions} == {
        "basicConstraints": True, "keyUsage": True, "extendedKeyUsage": True, "authorityKeyIdentifier": False,
    }  # fmt: skip
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def der_of(text: str) -> bytearray:
    return bytearray(base64.b64decode("".join(text.splitlines()[1:-1])))


def forged_signature() -> str:
    der = der_of(make_csr())
    der[-1] ^= 1
    return pem(bytes(der))


def key_swapped() -> str:
    """Somebody else's public key in a request that is signed by ours."""
    ours, theirs = der_of(make_csr()), der_of(make_csr())
    at = ours.index(b"\x03\x42\x00\x04") + 4
    ours[at : at + 64] = theirs[at : at + 64]
    return pem(bytes(ours))


CORPUS: dict[str, Callable[[], str]] = {
    "RSA 1024": lambda: make_csr(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - weak on purpose
    "RSA 2048": lambda: make_csr(rsa.generate_private_key(65537, 2048)),
    "P-521": lambda: make_csr(ec.generate_private_key(ec.SECP521R1())),
    "secp256k1": lambda: make_csr(ec.generate_private_key(ec.SECP256K1())),
    "DSA": lambda: make_csr(dsa.generate_private_key(1024)),  # noqa: S505 - weak on purpose
    "Ed448": lambda: make_csr(ed448.Ed448PrivateKey.generate()),
    "forged signature": forged_signature,
    "another's key": key_swapped,
    "a negative version, as some TPM tools write": lambda: pem(
        bytes(der_of(make_csr())).replace(b"\x02\x01\x00", b"\x02\x01\xff", 1)
    ),
    "no DER": lambda: pem(b"hello"),
    "empty": lambda: "",
    "cut short": lambda: pem(bytes(der_of(make_csr()))[:-20]),
    "trailing bytes": lambda: pem(bytes(der_of(make_csr())) + b"\0\0"),
    "15 KiB of nothing": lambda: pem(bytes(11_000)),
}


@pytest.mark.parametrize("kind", CORPUS)
def test_threat_61_a_request_with_a_weak_or_foreign_key_or_that_cannot_be_parsed_is_refused(
    desk: Desk, kind: str
) -> None:
    with pytest.raises(CsrRefusedError):
        desk.enrol(desk.token(auto_approve=True), CORPUS[kind]())
    assert desk.store.enrolments() == []
