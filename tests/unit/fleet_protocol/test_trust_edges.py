"""What is rare and must still be said well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from trust_support import NOW, Device, World, a_release, authority, new_key, release_value, sha256
from tuf_tampering_support import current, lead_to, nothing, resigned

from fleet_protocol.documents.authorities import Authorities
from fleet_protocol.documents.release import Release
from fleet_protocol.trust import dsse
from fleet_protocol.trust.errors import AlarmError, MetadataError, NotThereError, UnsignedReleaseError
from fleet_protocol.trust.keys import FileSigner, PublicKey
from fleet_protocol.trust.metadata_rules import max_bytes, parse_role
from fleet_protocol.trust.repository import Repository
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.trust.tuf_client import TufClient
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.trust.verifier import Stops
from fleet_protocol.wire.errors import DocumentInvalidError, TrustError, UnreachableError
from fleet_release.trust.release_role import add_release
from fleet_release.trust.server import fetcher

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


def test_a_value_without_default_stays_unset(world: World, device: Device) -> None:
    target = world.release(config={"URL": {"service": "web", "env": "URL", "max_bytes": 9}})
    value = world.desired_value(("cam", "1.9.0", target))
    assert device.verify(world.envelope(value)).apps[0].values == {}
    value["apps"][0]["config"] = {"URL": "x" * 10}
    with pytest.raises(TrustError, match="URL has 10 bytes, at most 9 are declared"):
        device.verify(world.envelope(value))


def test_an_envelope_signed_by_a_p256_key_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "p256.key"
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN))
    path.chmod(0o600)
    signer = FileSigner(path)
    envelope = dsse.sign(b"x", "t", signer)
    assert dsse.verify(envelope, "t", (signer.public,), max_bytes=999) == b"x"
    assert not signer.public.verifies(b"\x30\x00", b"x")


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    private = x25519.X25519PrivateKey.generate()
    path = tmp_path / "x.key"
    path.write_bytes(private.private_bytes(PEM, PKCS8, PLAIN))
    path.chmod(0o600)
    with pytest.raises(DocumentInvalidError, match="wants Ed25519 or ECDSA P-256"):
        FileSigner(path)
    public = private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(DocumentInvalidError, match="wants Ed25519 or ECDSA P-256"):
        PublicKey(public)
    with pytest.raises(NotImplementedError):
        TufSigner.from_priv_key_uri("file:x", TufSigner(new_key(tmp_path, "a")).public_key)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda k: k.update(note="x"), "has fields that do not belong there"),
        (lambda k: k["keyval"].update(private="x"), "has fields that do not belong there"),
        (lambda k: k["keyval"].update(public="xyz"), "is not a key"),
        (lambda k: k.update(keytype="ecdsa", scheme="ecdsa-sha2-nistp256"), "is not a key"),
    ],
    ids=["a note", "a private part", "no hex", "another kind than said"],
)
def test_a_root_with_an_odd_key_is_refused(world: World, edit: Callable[[Any], None], words: str) -> None:
    value = json.loads(world.root)
    edit(next(iter(value["signed"]["keys"].values())))
    with pytest.raises(MetadataError, match=words):
        parse_role("root", json.dumps(value).encode())


def test_targets_need_no_delegation_and_take_no_other_form(world: World) -> None:
    value = json.loads(current(world, "targets"))
    del value["signed"]["delegations"]
    parse_role("targets", json.dumps(value).encode())
    value["signed"]["delegations"] = {
        "keys": {},
        "succinct_roles": {"keyids": [], "threshold": 1, "bit_length": 8, "name_prefix": "bin"},
    }
    with pytest.raises(MetadataError, match="delegates in a way that is not ours"):
        parse_role("targets", json.dumps(value).encode())
    with pytest.raises(MetadataError, match="no such role"):
        parse_role("mirrors", b"{}")
    assert max_bytes("timestamp") < max_bytes("root") < max_bytes("release/cam")


@pytest.mark.parametrize(
    ("last", "counter", "words"),
    [(0, 2, "last_counter goes back from 1 to 0"), (2, 1, "not above 1"), (2, 3, "above last_counter")],
)
def test_counters_of_a_role_only_grow(world: World, last: int, counter: int, words: str) -> None:
    world.release("1.0.0")
    data = Release.from_value(release_value(version="2.0.0", counter=counter)).to_bytes()
    world.put_target(sha256(data), data)

    def edit(signed: Any) -> None:
        line = type(next(iter(signed.targets.values()))).from_data("releases/cam/2.0.0.json", data, ["sha256"])
        line.unrecognized_fields["custom"] = {"release_counter": counter}
        signed.version = 2
        signed.targets["releases/cam/2.0.0.json"] = line
        signed.unrecognized_fields["roadstead"]["last_counter"] = last

    with pytest.raises(MetadataError, match=words):
        world.put_metadata(
            "release/cam", resigned(current(world, "release/cam"), edit, world.trust.release_signer("cam")), 1
        )


def test_a_server_wants_root_first_then_targets_then_roles(world: World, tmp_path: Path) -> None:
    fresh = Repository(tmp_path / "fresh", world.snapshot, world.timestamp)
    with pytest.raises(MetadataError, match="there is no root yet: upload root first"):
        fresh.put_role("targets", world.repository.load("1.targets") or b"", 0, NOW)
    world.release()
    fresh.put_role("root", world.root, 0, NOW)
    with pytest.raises(MetadataError, match="targets delegates no such role"):
        fresh.put_role("release/cam", current(world, "release/cam"), 0, NOW)
    with pytest.raises(NotThereError, match="was not uploaded before"):
        fresh.put_role("targets", world.repository.load("1.targets") or b"", 0, NOW)


def without_authorities(signed: Any) -> None:
    signed.version += 1
    signed.targets.clear()


def test_targets_without_authorities_are_refused_by_server_and_device(world: World, device: Device) -> None:
    bad = resigned(current(world, "targets"), without_authorities, world.trust.signer("targets"))
    with pytest.raises(MetadataError, match=r"does not list roadstead/authorities\.json"):
        world.put_metadata("targets", bad, 2)
    lead_to(world, device, nothing, files={"targets": bad})
    with pytest.raises(MetadataError, match=r"does not list roadstead/authorities\.json"):
        device.client.refresh()


def test_a_role_unlike_its_line_in_snapshot_is_refused_at_any_age(world: World, device: Device) -> None:
    world.release()
    lead_to(world, device, lambda s: setattr(s.meta["release/cam.json"], "version", 2))
    device.answers["metadata", "2.release/cam"] = current(world, "release/cam")
    with pytest.raises(MetadataError, match="is version 1, snapshot says 2"):
        device.client.app_role_of_any_age("cam")


def test_a_document_unlike_its_line_in_the_role_is_refused(world: World, device: Device) -> None:
    """Signed by mistake: the engineer's tool never makes it, and the server takes none."""
    data = Release.from_value(release_value(version="2.0.0", counter=7)).to_bytes()
    good = add_release(world.opened(), a_release(version="2.0.0"), [world.trust.release_signer("cam")], NOW)
    world.published(good)

    def edit(signed: Any) -> None:
        line = type(next(iter(signed.targets.values()))).from_data("releases/cam/2.0.0.json", data, ["sha256"])
        line.unrecognized_fields["custom"] = {"release_counter": 1}
        signed.version = 2
        signed.targets["releases/cam/2.0.0.json"] = line

    bad = resigned(current(world, "release/cam"), edit, world.trust.release_signer("cam"))
    lead_to(world, device, nothing, files={"release/cam": bad})
    device.answers["target", f"releases/cam/{sha256(data)}.2.0.0.json"] = data
    with pytest.raises(
        UnsignedReleaseError, match=r"the document says cam 2\.0\.0 with counter 7, its role says counter 1"
    ):
        device.verify(world.desired(("cam", "2.0.0", sha256(data))))


def test_metadata_that_the_server_does_not_have_is_named(world: World, device: Device) -> None:
    device.answers["metadata", "2.snapshot"] = NotThereError("404", element="2.snapshot")
    with pytest.raises(NotThereError, match=r"2\.snapshot"):
        device.client.refresh()


def test_a_failed_refresh_is_tried_again_by_the_next_question(world: World, device: Device) -> None:
    device.answers["metadata", "timestamp"] = UnreachableError("no route", retry=True)
    with pytest.raises(UnreachableError):
        device.client.app_role("cam")
    device.answers.clear()
    world.release()
    assert device.client.app_role("cam").version == 1


def test_a_fleet_without_time_keys_goes_on_by_floor_and_clock(world: World, device: Device) -> None:
    world.trust.replace_authorities(Authorities(director=(authority(world.director),)), NOW)
    world.trust.upload(world)
    device.verifier.update_time(lambda _: b"never asked")
    assert not device.clock.signed


def test_an_app_whose_role_cannot_be_read_hides_no_stop_and_stops_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, apps=("cam", "db"))
    targets = [(app, "1.0.0", world.release("1.0.0", app)) for app in ("cam", "db")]
    device = world.device()
    device.take(world.desired(*targets))
    world.trust.replace_release_keys("cam", NOW, (new_key(world.folder, "fresh").public,))
    world.trust.upload(world)
    device.boot()
    assert device.verifier.stops() == Stops(unread=("cam",))
    device.close()


def test_stored_roots_that_no_longer_follow_are_an_alarm(world: World, device: Device) -> None:
    device.client.refresh()
    assert device.store is not None
    device.store.put_root(2, resigned(world.root, lambda s: setattr(s, "version", 2), new_key(world.folder, "thief")))
    with pytest.raises(AlarmError, match="stored root 2 no longer verifies"):
        device.client.refresh()


def test_a_folder_in_place_of_the_database_is_an_alarm(tmp_path: Path) -> None:
    (tmp_path / "trust.db").mkdir()
    with pytest.raises(AlarmError):
        TrustStore(tmp_path / "trust.db")


def test_the_engineers_side_bounds_what_it_reads(world: World) -> None:
    with pytest.raises(TrustError, match="at most 10 are allowed"):
        fetcher(world)("metadata", "timestamp", 10)
    with pytest.raises(NotThereError):
        fetcher(world)("value", "a" * 64, 10)


def test_a_client_begins_from_a_root_in_our_form(device: Device) -> None:
    store = TrustStore(None)
    client = TufClient(store, b"{}", device.fetch, device.clock)
    with pytest.raises(MetadataError, match="wants exactly signed and signatures"):
        client.refresh()
    store.close()
