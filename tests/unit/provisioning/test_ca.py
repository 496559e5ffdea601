from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from provisioning_support import NOW, make_csr

from provisioning.authority import ca
from provisioning.authority.ca import CaError, CsrRefusedError, DeviceCa
from provisioning.authority.crl import CrlUnsafeError, check_crl, make_crl
from provisioning.authority.records import RevokedCertificate

CA = DeviceCa.create("lab", NOW)
DAY = 86400


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_a_device_certificate_is_a_client_of_thirty_days_with_the_device_as_its_name_and_nothing_else() -> None:
    key = ca.new_key()
    issued = CA.issue_device("cam-1", key.public_key(), NOW)
    made = certificate(issued.pem)
    made.verify_directly_issued_by(CA.certificate)
    assert [a.value for a in made.subject] == ["cam-1"]
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert issued.expires == NOW + 30 * DAY
    assert {e.oid._name for e in made.extensions} == {
        "basicConstraints", "keyUsage", "extendedKeyUsage", "authorityKeyIdentifier",
    }  # fmt: skip


def test_a_server_certificate_holds_names_and_addresses_and_comes_with_the_ca_behind_it() -> None:
    issued = CA.issue_server(["fleet.example", "127.0.0.1", "::1"], ca.new_key().public_key(), NOW)
    leaf, root = x509.load_pem_x509_certificates(issued.pem.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(n.value) for n in names] == ["fleet.example", "127.0.0.1", "::1"]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert root == CA.certificate


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "A", "x" * 49, "a b", "a\nuser roadstead-server"])
def test_a_name_that_is_no_device_identifier_gets_no_certificate(name: str) -> None:
    with pytest.raises(ValueError, match="not a device identifier"):
        CA.issue_device(name, ca.new_key().public_key(), NOW)


def test_the_ca_comes_back_from_its_files_and_never_replaces_a_key(tmp_path: Path) -> None:
    CA.save(tmp_path / "ca")
    assert DeviceCa.load(tmp_path / "ca").sha256 == CA.sha256
    assert (tmp_path / "ca/ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(CaError, match="there is a CA already"):
        DeviceCa.create("other", NOW).save(tmp_path / "ca")


def test_a_ca_key_that_others_may_read_or_that_belongs_elsewhere_is_refused(tmp_path: Path) -> None:
    CA.save(tmp_path / "ca")
    (tmp_path / "ca/ca.key").chmod(0o640)
    with pytest.raises(CaError, match="others may read it"):
        DeviceCa.load(tmp_path / "ca")
    (tmp_path / "ca/ca.key").chmod(0o600)
    (tmp_path / "ca/ca.pem").write_text(DeviceCa.create("other", NOW).pem)
    with pytest.raises(CaError, match="do not belong together"):
        DeviceCa.load(tmp_path / "ca")


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
def test_only_the_public_key_of_an_allowed_kind_is_taken_from_a_request(key: ec.EllipticCurvePrivateKey) -> None:
    taken, der = ca.public_key_of_csr(make_csr(key, "roadstead-server"))
    assert taken == key.public_key()
    assert der == ca.der_of_pem(make_csr(key, "roadstead-server"))[: len(der)] or der.startswith(b"\x30")


@pytest.mark.parametrize(
    ("csr", "words"),
    [
        pytest.param("", "cannot be read", id="nothing"),
        pytest.param("x" * 20_000, "too long", id="endless"),
        pytest.param(CA.pem, "cannot be read", id="a certificate"),
        pytest.param(make_csr(rsa.generate_private_key(65537, 2048)), "kind that is not allowed", id="RSA"),
        pytest.param(make_csr(ec.generate_private_key(ec.SECP384R1())), "kind that is not allowed", id="P-384"),
        pytest.param(make_csr(ed448.Ed448PrivateKey.generate()), "kind that is not allowed", id="Ed448"),
    ],
)
def test_a_hostile_request_is_refused_in_words(csr: str, words: str) -> None:
    with pytest.raises(CsrRefusedError, match=words):
        ca.public_key_of_csr(csr)


def test_certificates_are_replaced_after_two_thirds_of_their_life_or_when_names_or_keys_changed(tmp_path: Path) -> None:
    pair = tmp_path / "a.pem", tmp_path / "a.key"
    assert not ca.pair_serves(*pair, NOW)
    key = ca.new_key()
    pair[1].write_bytes(ca.private_pem(key))
    pair[0].write_text(CA.issue_server(["a.example"], key.public_key(), NOW, days=30).pem)
    assert ca.pair_serves(*pair, NOW, ["a.example"])
    assert ca.pair_serves(*pair, NOW + 19 * DAY)
    assert not ca.pair_serves(*pair, NOW + 20 * DAY)
    assert not ca.pair_serves(*pair, NOW, ["a.example", "b.example"])
    pair[1].write_bytes(ca.private_pem(ca.new_key()))
    assert not ca.pair_serves(*pair, NOW)


REVOKED = [RevokedCertificate(7, NOW - DAY), RevokedCertificate(2**150, NOW - 5)]


def test_a_revocation_list_names_all_and_lives_ten_years() -> None:
    data = make_crl(CA, REVOKED, NOW)
    check_crl(data, CA.certificate, {7, 2**150}, NOW)
    made = x509.load_pem_x509_crl(data)
    assert made.next_update_utc is not None
    assert made.next_update_utc.timestamp() == NOW + 3652 * DAY


def test_a_list_that_lacks_somebody_or_ends_soon_or_begins_late_or_is_a_strangers_is_refused() -> None:
    data = make_crl(CA, REVOKED, NOW)
    with pytest.raises(CrlUnsafeError, match="lacks 1 revoked"):
        check_crl(data, CA.certificate, {7, 8}, NOW)
    with pytest.raises(CrlUnsafeError, match="ends within a year"):
        check_crl(data, CA.certificate, {7}, NOW + 9 * 365 * DAY + 30 * DAY)
    with pytest.raises(CrlUnsafeError, match="begins in the future"):
        check_crl(data, CA.certificate, {7}, NOW - DAY)
    with pytest.raises(CrlUnsafeError, match="did not sign it"):
        check_crl(data, DeviceCa.create("lab", NOW).certificate, {7}, NOW)
    with pytest.raises(CrlUnsafeError, match="not one whole list"):
        check_crl(data + data, CA.certificate, {7}, NOW)


def test_names_in_certificates_are_read_by_nobody_who_asks_for_one() -> None:
    csr = make_csr(None, "roadstead-server", ca=x509.BasicConstraints(ca=True, path_length=None))
    key, _ = ca.public_key_of_csr(csr)
    made = certificate(CA.issue_device("cam-2", key, NOW).pem)
    assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "cam-2"
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
