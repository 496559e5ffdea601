"""The server's side: only what is signed, one version at a time, and visible in one step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from trust_support import NOW, World, a_release, new_key, release_value, sha256

from fleet_protocol.documents.release import Release, Withdrawal
from fleet_protocol.trust.errors import ExpiredError, MetadataError, NotThereError, RoleConflictError
from fleet_protocol.trust.metadata_rules import parse_role
from fleet_protocol.trust.repository import Repository
from fleet_protocol.trust.tuf_api import Metadata, TargetFile
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire.errors import DocumentInvalidError, Exit
from fleet_release.trust.release_role import add_release, withdraw


def again(world: World) -> Repository:
    """The same directory after a restart."""
    return Repository(world.folder / "tuf", world.snapshot, world.timestamp)


def edited(data: bytes, signer: Any, edit: Callable[[Any], None]) -> bytes:
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    edit(metadata.signed)
    metadata.signatures.clear()
    metadata.sign(TufSigner(signer))
    return metadata.to_bytes()


def listing(world: World) -> list[str]:
    return sorted(p.name for p in (world.folder / "tuf" / "metadata").iterdir())


def test_a_directory_tells_everything_after_a_restart(world: World) -> None:
    target = world.release()
    repository = again(world)
    assert repository.version("root") == 1
    assert repository.version("targets") == 2
    assert repository.version("release/cam") == 1
    assert repository.current("release/cam") == repository.load("1.release/cam")
    assert repository.releases() == {"cam": {"1.9.0": Release.from_value(release_value())}}
    assert sha256(repository.target(f"releases/cam/{target}.1.9.0.json") or b"") == target


@pytest.mark.parametrize(
    "name",
    ["", "root", "0.root", "01.root", "1.timestamp", "../1.root", "1.release/../root", "1.release%2Fcam", "9.root"],
)
def test_names_that_are_none_are_not_there(world: World, name: str) -> None:
    assert world.repository.load(name) is None


@pytest.mark.parametrize("path", ["x", f"{'a' * 64}.json", f"../{'a' * 64}.x", f"a/../{'a' * 64}.x", "a/b/" + "g" * 64])
def test_paths_that_are_none_are_not_there(world: World, path: str) -> None:
    assert world.repository.target(path) is None


def test_a_repeated_upload_of_the_same_bytes_is_answered_the_same(world: World) -> None:
    first = world.trust.root_v1()
    assert world.put_metadata("root", first, 0)["version"] == 1
    targets = world.repository.current("targets")
    assert targets is not None
    before = listing(world)
    assert world.put_metadata("targets", targets, 1) == {"role": "targets", "version": 2, "snapshot_version": 2}
    assert listing(world) == before


def test_who_comes_second_gets_a_conflict_with_both_numbers(world: World) -> None:
    signer = world.trust.release_signer("cam")
    one = add_release(world.opened(), a_release(version="1.0.0"), [signer], NOW)
    two = add_release(world.opened(), a_release(version="2.0.0"), [signer], NOW)
    world.published(one)
    with pytest.raises(RoleConflictError, match="replaces version 0, and the current one is 1") as caught:
        world.published(two)
    assert caught.value.exit_status == Exit.CONFLICT


def put_edited(world: World, edit: Callable[[Any], None], signer: Any = None) -> None:
    signed = add_release(
        world.opened(), a_release(version="2.0.0"), [world.trust.release_signer("cam")], world.time.now
    )
    for hash_, data in signed.targets.items():
        world.put_target(hash_, data)
    bad = edited(signed.data, signer or world.trust.release_signer("cam"), edit)
    world.put_metadata("release/cam", bad, signed.replaces)


def test_a_role_signed_by_another_key_is_refused(world: World) -> None:
    with pytest.raises(MetadataError, match="not signed by enough of its keys"):
        put_edited(world, lambda _: None, new_key(world.folder, "thief"))
    assert world.repository.version("release/cam") == 0


def set_version(signed: Any) -> None:
    signed.version = 3


def expire(signed: Any) -> None:
    signed.expires = NOW - timedelta(days=1)


def list_elsewhere(signed: Any) -> None:
    target = signed.targets.pop("releases/cam/2.0.0.json")
    signed.targets["releases/db/2.0.0.json"] = target


def list_missing(signed: Any) -> None:
    target = TargetFile.from_data("releases/cam/3.json", b"x", ["sha256"])
    target.unrecognized_fields["custom"] = {"release_counter": 2}
    signed.targets["releases/cam/3.json"] = target
    signed.unrecognized_fields["roadstead"]["last_counter"] = 2


def list_wrong_counter(signed: Any) -> None:
    signed.targets["releases/cam/2.0.0.json"].unrecognized_fields["custom"] = {"release_counter": 2}
    signed.unrecognized_fields["roadstead"]["last_counter"] = 2


def no_counter(signed: Any) -> None:
    signed.targets["releases/cam/2.0.0.json"].unrecognized_fields.clear()


def delegate(signed: Any) -> None:
    from fleet_protocol.trust.tuf_api import Delegations

    signed.delegations = Delegations({}, {})


def odd_extra(signed: Any) -> None:
    signed.unrecognized_fields["roadstead"]["max_privileges"] = "all"


BAD: dict[str, tuple[Callable[[Any], None], type[Exception], str]] = {
    "a version left out": (set_version, MetadataError, "version 3 does not follow 0"),
    "an expired role": (expire, ExpiredError, "expired on 2026-05-31"),
    "a path of another app": (list_elsewhere, MetadataError, "outside of releases/cam/"),
    "a target never uploaded": (list_missing, NotThereError, "was not uploaded before"),
    "a counter unlike the document's": (list_wrong_counter, MetadataError, "the document says otherwise"),
    "no counter": (no_counter, MetadataError, "without its release_counter"),
    "a further delegation": (delegate, MetadataError, "delegates further"),
    "an unknown field beside the floor": (odd_extra, MetadataError, "max_privileges"),
}


@pytest.mark.parametrize(("edit", "kind", "words"), BAD.values(), ids=BAD)
def test_it_takes_no_role_with(world: World, edit: Callable[[Any], None], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        put_edited(world, edit)
    assert world.repository.version("release/cam") == 0


def test_a_released_version_never_changes_its_content(world: World) -> None:
    world.release("1.0.0")
    signer = world.trust.release_signer("cam")
    world.published(withdraw(world.opened(), Withdrawal(version="0.9.0", effect="refuse"), [signer], NOW))
    other = Release.from_value(release_value(version="1.0.0", counter=2, health={"window_s": 5})).to_bytes()
    world.put_target(sha256(other), other)

    def swap(signed: Any) -> None:
        target = TargetFile.from_data("releases/cam/1.0.0.json", other, ["sha256"])
        target.unrecognized_fields["custom"] = {"release_counter": 2}
        signed.version = 3
        signed.targets = {"releases/cam/1.0.0.json": target}
        signed.unrecognized_fields["roadstead"]["last_counter"] = 2

    data = world.repository.current("release/cam")
    assert data is not None
    with pytest.raises(MetadataError, match=r"1\.0\.0 was released with other content"):
        world.put_metadata("release/cam", edited(data, signer, swap), 2)

    def drop(signed: Any) -> None:
        signed.version = 3
        signed.targets = {}

    world.put_metadata("release/cam", edited(data, signer, drop), 2)

    def bring_back(signed: Any) -> None:
        swap(signed)
        signed.version = 4

    with pytest.raises(MetadataError, match=r"1\.0\.0 was released before with other content"):
        world.put_metadata("release/cam", edited(data, signer, bring_back), 3)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("min_counter", 0, "min_counter goes back from 1 to 0"),
        ("withdrawals", [], "takes back the withdrawal of 0.9.0"),
    ],
)
def test_floors_and_withdrawals_are_never_taken_back(world: World, field: str, value: Any, words: str) -> None:
    signer = world.trust.release_signer("cam")
    world.published(add_release(world.opened(), a_release(), [signer], NOW, min_counter=1))
    world.published(withdraw(world.opened(), Withdrawal(version="0.9.0", effect="refuse"), [signer], NOW))

    def take_back(signed: Any) -> None:
        signed.version += 1
        signed.unrecognized_fields["roadstead"][field] = value

    data = world.repository.current("release/cam")
    assert data is not None
    with pytest.raises(MetadataError, match=words):
        world.put_metadata("release/cam", edited(data, signer, take_back), 2)


def test_snapshot_and_timestamp_cannot_be_uploaded(world: World) -> None:
    for role in ("snapshot", "timestamp", "release/CAM", "mirrors"):
        with pytest.raises(MetadataError, match="cannot be uploaded"):
            world.put_metadata(role, b"{}", 1)


def test_target_bytes_must_have_their_hash(world: World) -> None:
    with pytest.raises(DocumentInvalidError, match="another hash"):
        world.put_target("a" * 64, b"x")
    with pytest.raises(DocumentInvalidError, match="at most"):
        world.put_target("a" * 64, b"x" * 300_000)
    with pytest.raises(DocumentInvalidError, match="another hash"):
        world.put_target("../../x", b"x")


def test_a_root_over_other_on_line_keys_is_refused(world: World, tmp_path: Path) -> None:
    stranger = new_key(tmp_path, "stranger")
    repository = Repository(tmp_path / "fresh", stranger, world.timestamp)
    with pytest.raises(MetadataError, match="does not name this server's snapshot key"):
        repository.put_role("root", world.root, 0, NOW)


def test_a_new_root_needs_the_old_keys(world: World, tmp_path: Path) -> None:
    thief = World(tmp_path / "thief")
    thief.timestamp, thief.snapshot = world.timestamp, world.snapshot
    thief.trust.renew_root(NOW, world.online_keys())
    data = (thief.folder / "trust" / "2.root.json").read_bytes()
    with pytest.raises(MetadataError, match="root: is not signed by enough of its keys"):
        world.put_metadata("root", data, 1)


def test_timestamp_is_renewed_when_half_of_its_day_is_over(world: World) -> None:
    repository = world.repository
    assert not repository.refresh_timestamp(NOW + timedelta(hours=11))
    assert repository.refresh_timestamp(NOW + timedelta(hours=13))
    assert (repository.version("timestamp"), repository.version("snapshot")) == (3, 2)
    assert repository.refresh_timestamp(NOW + timedelta(days=5))
    assert (repository.version("timestamp"), repository.version("snapshot")) == (4, 3)
    assert repository.refresh_timestamp(NOW + timedelta(days=5), force=True)
    assert repository.version("timestamp") == 5


def test_an_empty_repository_has_nothing_to_refresh(world: World, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "fresh", world.snapshot, world.timestamp)
    assert not repository.refresh_timestamp(NOW)
    assert repository.load("timestamp") is None
    assert repository.releases() == {}


def test_old_snapshots_are_not_kept_for_ever(world: World) -> None:
    for day in range(1, 60):
        world.repository.refresh_timestamp(NOW + timedelta(days=5 * day))
    assert sum(".snapshot." in name for name in listing(world)) == 16
    again(world)


def test_what_a_crash_left_unfinished_is_not_shown_and_is_written_again(world: World) -> None:
    """Every write before the timestamp may have happened, and nothing after it."""
    signer = world.trust.release_signer("cam")
    timestamp = (world.folder / "tuf" / "metadata" / "timestamp.json").read_bytes()
    lost = add_release(world.opened(), a_release(version="1.0.0"), [signer], NOW)
    world.published(lost)
    world.locks.clear()
    (world.folder / "tuf" / "metadata" / "timestamp.json").write_bytes(timestamp)
    world.repository = again(world)
    assert world.repository.version("release/cam") == 0
    assert world.repository.load("1.release/cam") is None
    world.published(lost)
    assert world.repository.load("1.release/cam") == lost.data


def test_a_damaged_snapshot_is_noticed_at_start(world: World) -> None:
    (world.folder / "tuf" / "metadata" / "2.snapshot.json").write_bytes(b"")
    with pytest.raises(MetadataError, match="not the one that timestamp names"):
        again(world)


def test_new_on_line_keys_are_used_from_the_new_root_on(world: World) -> None:
    world.release()
    world.timestamp, world.snapshot = (new_key(world.folder, n) for n in ("timestamp-2", "snapshot-2"))
    world.repository = again(world)
    with pytest.raises(MetadataError, match="not the one that root names"):
        world.release("2.0.0")
    world.trust.renew_root(NOW, world.online_keys())
    world.trust.upload(world)
    device = world.device()
    device.client.refresh()
    assert set(device.client.app_role("cam").releases) == {"1.9.0"}
    device.close()


def test_every_stored_byte_is_metadata_in_our_form(world: World) -> None:
    world.release()
    for name in listing(world):
        role = name.removesuffix(".json").replace("%2F", "/").split(".")[-1]
        parse_role(role, (world.folder / "tuf" / "metadata" / name).read_bytes())
