"""The form that all our TUF metadata has, whoever signed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from trust_support import World, new_key

from fleet_protocol.trust.errors import MetadataError
from fleet_protocol.trust.keys import FileSigner, PublicKey, generate_ed25519
from fleet_protocol.trust.metadata_rules import MAX_VERSION_STEP, check_step, is_role, parse_role
from fleet_protocol.trust.tuf_keys import TufSigner, tuf_key
from fleet_protocol.wire.errors import DocumentInvalidError

Value = dict[str, Any]


def altered(data: bytes | None, edit: Callable[[Value], object]) -> bytes:
    value = json.loads(data or b"")
    edit(value["signed"])
    return json.dumps(value).encode()


def key_in(value: Value) -> tuple[str, Value]:
    name = value["roles"]["root"]["keyids"][0]
    return name, value["keys"][name]


def spell_key_twice(value: Value) -> None:
    """The same public key under a second id: one signer would count as two."""
    name, key = key_in(value)
    twin = "f" * 64
    value["keys"][twin] = key
    value["roles"]["root"] |= {"keyids": [name, twin], "threshold": 2}


def spell_key_in_capitals(value: Value) -> None:
    name, key = key_in(value)
    capital = {**key, "keyval": {"public": key["keyval"]["public"].upper()}}
    from securesystemslib.signer._utils import compute_default_keyid

    twin = compute_default_keyid(capital["keytype"], capital["scheme"], capital["keyval"])
    value["keys"][twin] = capital
    value["roles"]["root"] |= {"keyids": [name, twin], "threshold": 2}


def rsa_key(value: Value) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    value["keys"]["a" * 64] = {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": pem}}


ROOT: dict[str, tuple[Callable[[Value], object], str]] = {
    "the same key under two ids": (spell_key_twice, "is not named by its own hash"),
    "the same key in two spellings": (spell_key_in_capitals, "is not named by its own hash"),
    "an RSA key": (rsa_key, "wants Ed25519 or P-256"),
    "a key id listed twice": (lambda v: v["roles"]["root"]["keyids"].append(key_in(v)[0]), "is not metadata"),
    "a threshold of none": (lambda v: v["roles"]["root"].update(threshold=0), "is not metadata"),
    "a threshold that is true": (lambda v: v["roles"]["root"].update(threshold=True), "needs a threshold between"),
    "a threshold out of reach": (lambda v: v["roles"]["root"].update(threshold=2), "needs a threshold between"),
    "a key that is not there": (lambda v: v["keys"].pop(key_in(v)[0]), "needs a threshold between"),
    "snapshots that are not consistent": (lambda v: v.update(consistent_snapshot=False), "consistent_snapshot"),
    "a role missing": (lambda v: v["roles"].pop("timestamp"), "is not metadata"),
    "a version of zero": (lambda v: v.update(version=0), "is not metadata"),
    "a version that is true": (lambda v: v.update(version=True), "between 1 and 2"),
    "a version that is text": (lambda v: v.update(version="1"), "is not metadata"),
    "another type": (lambda v: v.update(_type="targets"), "is not metadata|is of type"),
}


@pytest.mark.parametrize(("edit", "words"), ROOT.values(), ids=ROOT)
def test_no_root_with(world: World, edit: Callable[[Value], object], words: str) -> None:
    parse_role("root", world.root)
    with pytest.raises(MetadataError, match=words):
        parse_role("root", altered(world.root, edit))


def delegation(value: Value) -> Value:
    found: Value = value["delegations"]["roles"][0]
    return found


TARGETS: dict[str, tuple[Callable[[Value], object], str]] = {
    "a delegation that does not end the search": (lambda v: delegation(v).update(terminating=False), "is not `rel"),
    "a delegation of another app's paths": (lambda v: delegation(v).update(paths=["releases/*/*"]), "is not `rel"),
    "a delegation of all paths": (lambda v: delegation(v).update(paths=["*"]), "is not `rel"),
    "a delegation of two paths": (lambda v: delegation(v)["paths"].append("roadstead/*"), "is not `rel"),
    "a delegation by hash": (
        lambda v: (delegation(v).pop("paths"), delegation(v).update(path_hash_prefixes=["00"])),
        "is not `rel",
    ),
    "a delegation with another name": (lambda v: delegation(v).update(name="backdoor"), "is not `rel"),
    "a delegation named as root": (lambda v: delegation(v).update(name="root"), "is not metadata|is not `rel"),
    "a release of its own": (
        lambda v: v["targets"].update({"releases/cam/1.json": {"length": 1, "hashes": {"sha256": "a" * 64}}}),
        "its own only target",
    ),
    "a target hashed by something else": (
        lambda v: v["targets"]["roadstead/authorities.json"].update(hashes={"md5": "a" * 32}),
        "exactly one sha256",
    ),
    "a target of any length": (
        lambda v: v["targets"]["roadstead/authorities.json"].update(length=10**9),
        "at most",
    ),
}


@pytest.mark.parametrize(("edit", "words"), TARGETS.values(), ids=TARGETS)
def test_no_targets_with(world: World, edit: Callable[[Value], object], words: str) -> None:
    data = world.repository.current("targets")
    parse_role("targets", data or b"")
    with pytest.raises(MetadataError, match=words):
        parse_role("targets", altered(data, edit))


SNAPSHOT: dict[str, tuple[Callable[[Value], object], str]] = {
    "a file without length": (lambda v: v["meta"]["targets.json"].pop("length"), "without a fitting length"),
    "a file without hash": (lambda v: v["meta"]["targets.json"].pop("hashes"), "exactly one sha256"),
    "root in it": (lambda v: v["meta"].update({"root.json": v["meta"]["targets.json"]}), "lists 'root.json'"),
    "a path in it": (lambda v: v["meta"].update({"../x.json": v["meta"]["targets.json"]}), "lists '../x.json'"),
}


@pytest.mark.parametrize(("edit", "words"), SNAPSHOT.values(), ids=SNAPSHOT)
def test_no_snapshot_with(world: World, edit: Callable[[Value], object], words: str) -> None:
    with pytest.raises(MetadataError, match=words):
        parse_role("snapshot", altered(world.repository.current("snapshot"), edit))


def test_a_role_lists_at_most_100_releases(world: World) -> None:
    world.release()
    data = world.repository.current("release/cam")

    def many(value: Value) -> None:
        line = value["targets"]["releases/cam/1.9.0.json"]
        value["targets"] = {f"releases/cam/{n}.json": line for n in range(101)}

    with pytest.raises(MetadataError, match="lists 101 releases, at most 100"):
        parse_role("release/cam", altered(data, many))


@pytest.mark.parametrize("path", ["releases/cam/.json", "releases/cam/a b.json", "releases/cam/x/1.json", "x.json"])
def test_a_role_lists_only_release_paths(world: World, path: str) -> None:
    world.release()
    data = world.repository.current("release/cam")

    def rename(value: Value) -> None:
        value["targets"] = {path: value["targets"]["releases/cam/1.9.0.json"]}

    with pytest.raises(MetadataError, match="outside of"):
        parse_role("release/cam", altered(data, rename))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    for role in ("root", "timestamp", "release/cam"):
        with pytest.raises(MetadataError):
            parse_role(role, data)


def test_roles_have_our_names() -> None:
    names = ["root", "targets", "snapshot", "timestamp", "release/cam", "release/a-1"]
    others = ["", "release/", "release/Cam", "release/cam/x", "release/../root", "mirror", "release/cam\n"]
    assert [is_role(n) for n in names + others] == [True] * 6 + [False] * 7


def test_a_version_may_step_so_far_and_no_further() -> None:
    check_step("timestamp", 5, 5 + MAX_VERSION_STEP)
    with pytest.raises(MetadataError, match="version jumps from 5 to 1000006, at most 1000000 are allowed"):
        check_step("timestamp", 5, 6 + MAX_VERSION_STEP)


def p256(path: Path) -> FileSigner:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem)
    path.chmod(0o600)
    return FileSigner(path)


@pytest.mark.parametrize("make", [p256, lambda path: new_key(path.parent, "ed")], ids=["P-256", "Ed25519"])
def test_both_kinds_of_keys_sign_for_tuf(tmp_path: Path, make: Callable[[Path], FileSigner]) -> None:
    signer = TufSigner(make(tmp_path / "p256.key"))
    signature = signer.sign(b"metadata")
    signer.public_key.verify_signature(signature, b"metadata")
    assert signature.keyid == signer.public_key.keyid


def test_a_key_file_others_may_read_is_refused(tmp_path: Path) -> None:
    generate_ed25519(tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(DocumentInvalidError, match="may be read by others"):
        FileSigner(tmp_path / "a.key")


def test_a_key_under_a_passphrase_opens_with_it_alone(tmp_path: Path) -> None:
    public = generate_ed25519(tmp_path / "a.key", b"correct horse")
    assert b"ENCRYPTED" in (tmp_path / "a.key").read_bytes()
    assert FileSigner(tmp_path / "a.key", b"correct horse").public.key_id == public.key_id
    with pytest.raises(DocumentInvalidError, match="passphrase is wrong"):
        FileSigner(tmp_path / "a.key", b"battery staple")
    with pytest.raises(DocumentInvalidError, match="is encrypted"):
        FileSigner(tmp_path / "a.key")
    with pytest.raises(FileExistsError):
        generate_ed25519(tmp_path / "a.key")


def test_other_keys_are_no_keys() -> None:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for data in (pem, b"", b"x"):
        with pytest.raises(DocumentInvalidError):
            PublicKey(data)


def test_the_tuf_id_of_a_key_depends_on_the_key_alone(tmp_path: Path) -> None:
    public = new_key(tmp_path, "a").public
    assert tuf_key(public).keyid == tuf_key(PublicKey(public.pem + b"\n")).keyid
