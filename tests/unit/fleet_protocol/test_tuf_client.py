"""The TUF workflow against a repository that misbehaves in one way each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from trust_support import NOW, Device, World, authority, new_key
from tuf_tampering_support import current, lead_to, nothing, resigned

from fleet_protocol.documents.authorities import Authorities
from fleet_protocol.trust.errors import AlarmError, ExpiredError, MetadataError, NotThereError
from fleet_protocol.trust.metadata_rules import parse_role
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire.errors import RoadsteadError, TrustError, UnreachableError


def refuses(device: Device, kind: type[RoadsteadError], words: str) -> None:
    device.boot()
    with pytest.raises(kind, match=words):
        device.client.refresh()


def test_a_refresh_keeps_everything_for_the_next_process(world: World, device: Device) -> None:
    device.client.refresh()
    device.boot()
    device.asked.clear()
    device.client.refresh()
    assert [name for _, name, _ in device.asked] == ["2.root", "timestamp"]


def test_every_request_carries_a_bound(world: World, device: Device) -> None:
    device.client.refresh()
    snapshot = parse_role("timestamp", current(world, "timestamp")).signed.snapshot_meta
    assert ("metadata", "timestamp", 16 * 1024) in device.asked
    assert ("metadata", f"{snapshot.version}.snapshot", snapshot.length) in device.asked


def test_endless_data_is_refused(world: World, device: Device) -> None:
    device.answers["metadata", "timestamp"] = b" " * (16 * 1024 + 1)
    refuses(device, MetadataError, "16385 bytes, at most 16384")


def test_an_expired_timestamp_is_a_freeze_and_is_named_with_the_time(world: World, device: Device) -> None:
    device.time.move(days=2)
    refuses(device, ExpiredError, r"timestamp\.json is expired; the time is taken to be 2026-06-03 12:00 UTC")


def test_a_rolled_back_timestamp_is_refused(world: World, device: Device) -> None:
    old = current(world, "timestamp")
    world.repository.refresh_timestamp(NOW, force=True)
    device.client.refresh()
    device.answers["metadata", "timestamp"] = old
    refuses(device, MetadataError, "must be >=")


def test_a_rolled_back_snapshot_is_refused(world: World, device: Device) -> None:
    old = current(world, "snapshot")
    world.release()
    device.client.refresh()
    name = f"{world.repository.version('snapshot')}.snapshot"
    device.answers["metadata", name] = old
    device.client.refresh()  # kept: nothing new was led to
    world.release("2.0.0")
    device.answers["metadata", f"{world.repository.version('snapshot')}.snapshot"] = old
    refuses(device, MetadataError, "length|hash")


def test_a_snapshot_that_forgets_a_role_is_refused(world: World, device: Device) -> None:
    world.release()
    device.client.refresh()
    device.client.app_role("cam")
    lead_to(world, device, lambda s: s.meta.pop("release/cam.json"))
    refuses(device, MetadataError, "missing info")


def test_a_snapshot_that_lowers_a_role_is_refused(world: World, device: Device) -> None:
    world.release()
    world.release("2.0.0")
    device.client.refresh()
    lead_to(world, device, lambda s: setattr(s.meta["release/cam.json"], "version", 1))
    refuses(device, MetadataError, "release/cam.json version")


def test_a_version_that_jumps_is_refused_for_every_role(world: World, device: Device) -> None:
    device.client.refresh()
    far = 2**53

    def jump(signed: Any) -> None:
        signed.version = far

    device.answers["metadata", "timestamp"] = resigned(current(world, "timestamp"), jump, world.timestamp)
    refuses(device, MetadataError, f"version jumps from 2 to {far}")
    lead_to(world, device, lambda s: setattr(s.meta["targets.json"], "version", far))
    refuses(device, MetadataError, f"targets.json: version jumps from 2 to {far}")


def test_a_version_beyond_2_to_the_53_is_no_version(world: World, device: Device) -> None:
    bad = current(world, "timestamp").replace(b'"version":2', b'"version":9223372036854775807')
    device.answers["metadata", "timestamp"] = bad
    refuses(device, MetadataError, "integer beyond")


def test_new_timestamp_keys_in_root_recover_from_fast_forward(world: World, device: Device) -> None:
    def ahead(signed: Any) -> None:
        signed.version += 900_000

    device.answers["metadata", "timestamp"] = resigned(current(world, "timestamp"), ahead, world.timestamp)
    device.client.refresh()
    device.answers.clear()
    refuses(device, MetadataError, "must be >=")
    world.timestamp = new_key(world.folder, "timestamp-2")
    world.snapshot = new_key(world.folder, "snapshot-2")
    world.repository = type(world.repository)(world.folder / "tuf", world.snapshot, world.timestamp)
    world.trust.renew_root(NOW, world.online_keys())
    world.trust.upload(world)
    device.boot()
    device.client.refresh()
    assert device.client.version("root") == 2
    assert device.client.version("timestamp") == world.repository.version("timestamp")


def test_a_root_signed_by_new_keys_alone_is_refused(world: World, device: Device) -> None:
    thief = new_key(world.folder, "thief")
    data = hostile_root(world, thief, 2)
    device.answers["metadata", "2.root"] = resigned(data, nothing, thief)
    refuses(device, MetadataError, "root was signed by 0/1 keys")


def test_a_root_not_signed_by_its_own_keys_is_refused(world: World, device: Device) -> None:
    thief = new_key(world.folder, "thief")
    device.answers["metadata", "2.root"] = resigned(hostile_root(world, thief, 2), nothing, world.trust.signer("root"))
    refuses(device, MetadataError, "root was signed by 0/1 keys")


def test_a_root_version_that_is_left_out_is_refused(world: World, device: Device) -> None:
    thief = new_key(world.folder, "thief")
    data = resigned(hostile_root(world, thief, 3), nothing, world.trust.signer("root"), thief)
    device.answers["metadata", "2.root"] = data
    refuses(device, MetadataError, "Expected root version 2")


def hostile_root(world: World, key: Any, version: int) -> bytes:
    def edit(signed: Any) -> None:
        public = TufSigner(key).public_key
        signed.version = version
        signed.keys[public.keyid] = public
        signed.roles["root"].keyids = [public.keyid]

    return resigned(world.root, edit)


def test_a_withheld_newer_root_does_not_bring_the_old_one_back(world: World, device: Device) -> None:
    world.trust.renew_root(NOW)
    world.trust.upload(world)
    device.client.refresh()
    assert device.client.version("root") == 2
    device.answers["metadata", "2.root"] = NotThereError("404")
    device.boot()
    device.client.refresh()
    assert device.client.version("root") == 2


def test_another_pinned_root_beside_old_state_is_an_alarm(world: World, device: Device, tmp_path: Any) -> None:
    device.client.refresh()
    other = World(tmp_path / "other")
    device.root = other.root
    with pytest.raises(AlarmError, match="pinned root is not the one"):
        device.boot()


def test_an_unreachable_server_is_not_a_question_of_trust(world: World, device: Device) -> None:
    device.answers["metadata", "timestamp"] = UnreachableError("no route", retry=True)
    device.boot()
    with pytest.raises(UnreachableError) as caught:
        device.client.refresh()
    assert caught.value.retry
    assert not isinstance(caught.value, TrustError)


def test_nothing_is_trusted_through_a_client_whose_refresh_failed(world: World, device: Device) -> None:
    device.client.refresh()
    device.answers["metadata", "timestamp"] = b"{}"
    with pytest.raises(MetadataError):
        device.client.refresh()
    assert not device.client.fresh
    with pytest.raises(MetadataError):
        device.client.app_role("cam")


def test_authorities_change_with_targets(world: World, device: Device) -> None:
    device.client.refresh()
    fresh = new_key(world.folder, "director-2")
    world.trust.replace_authorities(Authorities(director=(authority(fresh),)), NOW)
    world.trust.upload(world)
    device.boot()
    device.client.refresh()
    assert [k.key_id for k in device.client.authority_keys("director")] == [fresh.public.key_id]
    assert device.client.authority_keys("time") == ()


def test_an_expired_role_accepts_nothing_and_can_still_be_read(world: World, device: Device) -> None:
    world.release()
    for clock in (world.time, device.time):
        clock.move(days=31)
    world.repository.refresh_timestamp(world.time.now)
    device.boot()
    with pytest.raises(ExpiredError, match="release/cam"):
        device.client.app_role("cam")
    old = device.client.app_role_of_any_age("cam")
    assert old is not None
    assert set(old.releases) == {"1.9.0"}
    assert timedelta(seconds=old.expires - NOW.timestamp()) == timedelta(days=30)


def test_a_role_of_any_age_must_be_the_one_that_snapshot_lists(world: World, device: Device) -> None:
    world.release()
    old = current(world, "release/cam")
    world.release("2.0.0")
    device.answers["metadata", "2.release/cam"] = old
    device.client.refresh()
    with pytest.raises(MetadataError):
        device.client.app_role_of_any_age("cam")
