"""Keys are made once, thresholds are met by people, and uploads can be repeated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from trust_support import NOW, World, a_release, new_key

from fleet_protocol.trust.errors import MetadataError
from fleet_protocol.trust.metadata_rules import as_root, as_targets, parse_role
from fleet_protocol.trust.repository import Repository
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.trust.ceremony import CeremonyError, KeySet, TrustDirectory
from fleet_release.trust.release_role import add_release, add_signature


def test_private_keys_are_for_their_owner_alone(world: World) -> None:
    folder = world.trust.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    keys = sorted(p.name for p in folder.glob("*.key"))
    assert keys == ["release-cam.key", "root.key", "targets.key"]
    assert {p.stat().st_mode & 0o777 for p in folder.glob("*.key")} == {0o600}


def test_a_second_ceremony_in_one_directory_is_refused(world: World) -> None:
    with pytest.raises(CeremonyError, match="there is a trust root already"):
        world.trust.create(world.online_keys(), NOW)


def test_an_interrupted_ceremony_goes_on_with_the_keys_it_made(world: World, tmp_path: Path) -> None:
    trust = TrustDirectory(tmp_path / "again")
    trust.create(world.online_keys(), NOW)
    key = (trust.folder / "root.key").read_bytes()
    (trust.folder / "root.json").unlink()
    trust.create(world.online_keys(), NOW)
    assert (trust.folder / "root.key").read_bytes() == key


def test_delegating_an_app_twice_changes_nothing(world: World) -> None:
    before = (world.trust.folder / "targets.json").read_bytes()
    world.trust.add_app("cam", NOW)
    assert (world.trust.folder / "targets.json").read_bytes() == before
    with pytest.raises(CeremonyError, match="not an app's name"):
        world.trust.add_app("../cam", NOW)


def test_each_app_has_a_key_and_paths_of_its_own(world: World) -> None:
    world.trust.add_app("db", NOW)
    assert world.trust.upload(world) == {"root": 1, "targets": 3}
    delegations = as_targets(parse_role("targets", world.repository.current("targets") or b"")).delegations
    assert delegations is not None
    roles = delegations.roles or {}
    assert {n: r.paths for n, r in roles.items()} == {
        "release/cam": ["releases/cam/*"],
        "release/db": ["releases/db/*"],
    }
    assert len({k for r in roles.values() for k in r.keyids}) == 2


def test_an_upload_may_be_repeated_and_catches_up(world: World) -> None:
    for app in ("db", "web"):
        world.trust.add_app(app, NOW)
    world.trust.renew_root(NOW)
    assert world.trust.upload(world) == world.trust.upload(world) == {"root": 2, "targets": 4}
    assert world.repository.version("targets") == 4


def test_another_directory_cannot_take_the_server_over(world: World, tmp_path: Path) -> None:
    trust = TrustDirectory(tmp_path / "thief")
    trust.create(world.online_keys(), NOW)
    with pytest.raises(Exception, match="replaces version 0, and the current one is 1"):
        trust.upload(world)


def test_a_threshold_of_two_waits_for_the_second_person(world: World, tmp_path: Path) -> None:
    second = new_key(tmp_path, "second")
    trust = TrustDirectory(tmp_path / "two")
    keys = KeySet(threshold=2, others=(second.public,))
    trust.create(world.online_keys(), NOW, root=keys, targets=keys)
    server = World.__new__(World)
    server.repository = Repository(tmp_path / "two-tuf", world.snapshot, world.timestamp)
    server.time = world.time
    with pytest.raises(MetadataError, match="root was signed by 1/2 keys"):
        trust.upload(server)
    trust.add_signature("root", second)
    with pytest.raises(MetadataError, match="targets was signed by 1/2 keys"):
        trust.upload(server)
    trust.add_signature("targets", second)
    assert trust.upload(server) == {"root": 1, "targets": 1}
    assert trust.root_v1() == (trust.folder / "root.json").read_bytes()


def test_a_release_role_may_need_two_signatures(world: World, tmp_path: Path) -> None:
    second = new_key(tmp_path, "second")
    world.trust.add_app("prod", NOW, KeySet(threshold=2, others=(second.public,)))
    world.trust.upload(world)
    one = add_release(world.opened("prod"), a_release("prod"), [world.trust.release_signer("prod")], NOW)
    with pytest.raises(MetadataError, match="release/prod was signed by 1/2 keys"):
        world.published(one)
    world.published(add_signature(one, second))
    assert world.repository.version("release/prod") == 1


def test_renewing_gives_another_year(world: World) -> None:
    world.time.move(days=364)
    world.trust.renew_root(world.time.now)
    world.trust.renew_targets(world.time.now)
    world.trust.upload(world)
    root = as_root(parse_role("root", world.repository.current("root") or b""))
    assert root.expires == world.time.now + timedelta(days=365)
    assert root.version == 2


def test_a_passphrase_comes_from_a_file_of_the_owner(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o644)
    with pytest.raises(CeremonyError, match="may be read by others"):
        TrustDirectory(tmp_path / "locked", secret)
    secret.chmod(0o600)
    TrustDirectory(tmp_path / "locked", secret).create(world.online_keys(), NOW)
    assert b"ENCRYPTED" in (tmp_path / "locked" / "root.key").read_bytes()
    with pytest.raises(DocumentInvalidError, match="is encrypted"):
        TrustDirectory(tmp_path / "locked").renew_root(NOW)
    TrustDirectory(tmp_path / "locked", secret).renew_root(NOW)
    secret.write_text("\n")
    with pytest.raises(CeremonyError, match="is empty"):
        TrustDirectory(tmp_path / "locked", secret)


def test_a_missing_key_is_named(world: World) -> None:
    with pytest.raises(CeremonyError, match=r"release-db\.key is not there"):
        world.trust.release_signer("db")
    with pytest.raises(CeremonyError, match=r"1\.root\.json is not there"):
        TrustDirectory(world.folder / "nothing").root_v1()


def test_replacing_keys_of_an_unknown_app_is_refused(world: World) -> None:
    with pytest.raises(CeremonyError, match="no such delegation"):
        world.trust.replace_release_keys("db", NOW, ())
