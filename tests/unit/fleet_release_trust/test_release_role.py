"""The signer trusts the server no more than a device does."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from trust_support import NOW, World, a_release, sha256

from fleet_protocol.documents.release import Release, Withdrawal
from fleet_protocol.trust.errors import MetadataError, NotThereError, UnsignedReleaseError
from fleet_protocol.trust.metadata_rules import as_targets, live_releases, parse_role, role_extra
from fleet_protocol.wire.errors import DocumentInvalidError, TrustError
from fleet_release.trust.lock import FleetLock, read_lock, write_lock
from fleet_release.trust.release_role import (
    ReleaseRefusedError,
    SignedRole,
    add_release,
    open_role,
    publish,
    renew,
    withdraw,
)


def signed(world: World, version: str = "1.9.0", **over: Any) -> SignedRole:
    signer = world.trust.release_signer("cam")
    options = {k: over.pop(k) for k in ("min_counter", "life") if k in over}
    return add_release(world.opened(), a_release(version=version, **over), [signer], NOW, **options)


def listed(role: SignedRole) -> dict[str, int]:
    parsed = as_targets(parse_role("release/cam", role.data))
    return {v: line.counter for v, line in live_releases("release/cam", parsed).items()}


def test_counters_follow_one_another_over_releases_and_locks(world: World) -> None:
    roles = [world.published(signed(world, v)) for v in ("1.0.0", "1.1.0", "2.0.0")]
    assert [r.counter for r in roles] == [1, 2, 3]
    assert listed(roles[-1]) == {"1.0.0": 1, "1.1.0": 2, "2.0.0": 3}
    assert roles[-1].lock == FleetLock(
        root_sha256=sha256(world.root), root_version=1, role="release/cam", role_version=3, last_counter=3
    )


def test_the_same_release_again_is_unchanged(world: World) -> None:
    world.published(signed(world))
    again = signed(world)
    assert again.unchanged
    assert publish(world, again) is None
    assert again.lock == world.locks["cam"]


def test_the_same_version_with_other_content_is_refused(world: World) -> None:
    world.published(signed(world))
    with pytest.raises(ReleaseRefusedError, match=r"1\.9\.0 is released already with other content; use"):
        signed(world, health={"window_s": 5})


def test_a_withdrawn_version_is_not_released_again(world: World) -> None:
    world.published(signed(world))
    signer = world.trust.release_signer("cam")
    gone = world.published(withdraw(world.opened(), Withdrawal(version="1.9.0", effect="refuse"), [signer], NOW))
    assert listed(gone) == {}
    with pytest.raises(ReleaseRefusedError, match=r"1\.9\.0 was withdrawn"):
        signed(world)


def test_a_withdrawal_is_only_ever_sharpened(world: World) -> None:
    signer = world.trust.release_signer("cam")
    for effect, then in (("refuse", "refuse"), ("stop", "stop"), ("refuse", "stop")):
        role = world.published(
            withdraw(world.opened(), Withdrawal(version="1.0.0", effect=effect), [signer], NOW)  # type: ignore[arg-type]
        )
        extra = role_extra("release/cam", as_targets(parse_role("release/cam", role.data)))
        assert [(w.version, w.effect) for w in extra.withdrawals] == [("1.0.0", then)]


def test_the_floor_rises_and_never_above_the_release_itself(world: World) -> None:
    world.published(signed(world, "1.0.0"))
    role = world.published(signed(world, "2.0.0", min_counter=2))
    assert role_extra("release/cam", as_targets(parse_role("release/cam", role.data))).min_counter == 2
    role = world.published(signed(world, "3.0.0", min_counter=1))
    assert role_extra("release/cam", as_targets(parse_role("release/cam", role.data))).min_counter == 2
    with pytest.raises(ReleaseRefusedError, match="min_counter 9 is above this release's 4"):
        signed(world, "4.0.0", min_counter=9)


def test_the_101st_release_drops_the_oldest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        world.published(signed(world, f"1.{number}"))
    role = world.published(signed(world, "2.0"))
    assert role.dropped == ("1.0",)
    assert len(listed(role)) == 100
    assert "1.0" not in listed(role)


def test_a_server_that_shows_an_older_role_is_refused_by_the_lock(world: World) -> None:
    world.published(signed(world, "1.0.0"))
    lock = world.published(signed(world, "2.0.0")).lock
    world.locks["cam"] = lock.model_copy(update={"role_version": 3, "last_counter": 3})
    with pytest.raises(TrustError, match=r"the server shows role version 2, and fleet\.lock has seen 3"):
        world.opened()
    world.locks["cam"] = lock.model_copy(update={"root_version": 2})
    with pytest.raises(TrustError, match=r"the server shows root version 1, and fleet\.lock has seen 2"):
        world.opened()
    world.locks["cam"] = lock.model_copy(update={"last_counter": 7})
    with pytest.raises(TrustError, match=r"the server shows last counter 2, and fleet\.lock has seen 7"):
        world.opened()


def test_another_trust_root_than_the_pinned_one_is_refused(world: World, tmp_path: Path) -> None:
    lock = world.published(signed(world)).lock
    other = World(tmp_path / "other")
    with pytest.raises(TrustError, match="another trust root than the pinned one"):
        open_role(other, "cam", sha256(other.root), lock, now=world.time.system)


def test_a_lock_of_another_app_is_refused(world: World) -> None:
    world.trust.add_app("db", NOW)
    world.trust.upload(world)
    world.locks["db"] = world.published(signed(world)).lock
    with pytest.raises(TrustError, match=r"fleet\.lock is of release/cam"):
        world.opened("db")


def test_a_role_that_does_not_verify_is_never_extended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.published(signed(world))
    data = world.repository.current("release/cam") or b""
    real = world.get_metadata
    monkeypatch.setattr(
        world, "get_metadata", lambda n: data.replace(b"1.9.0", b"6.6.6") if n == "1.release/cam" else real(n)
    )
    with pytest.raises(MetadataError, match="hash"):
        world.opened()


def test_an_expired_role_is_renewed(world: World) -> None:
    world.published(signed(world))
    world.time.move(days=40)
    world.repository.refresh_timestamp(world.time.now)
    role = world.published(renew(world.opened(), [world.trust.release_signer("cam")], world.time.now))
    parsed = as_targets(parse_role("release/cam", role.data))
    assert parsed.expires == world.time.now + timedelta(days=30)
    assert listed(role) == {"1.9.0": 1}


def test_an_app_without_a_delegation_cannot_be_released(world: World) -> None:
    with pytest.raises(UnsignedReleaseError, match="names no one who may sign releases of db"):
        world.opened("db")


def test_a_server_without_a_root_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "get_metadata", lambda _: None)
    with pytest.raises(NotThereError, match="no trust root yet"):
        world.opened()


def test_a_release_of_another_app_or_counter_is_refused(world: World) -> None:
    signer = world.trust.release_signer("cam")
    with pytest.raises(ReleaseRefusedError, match="is of db with counter 1"):
        add_release(world.opened(), a_release("db"), [signer], NOW)
    with pytest.raises(ReleaseRefusedError, match="is of cam with counter 9"):
        add_release(world.opened(), lambda _: a_release()(9), [signer], NOW)


def test_a_lost_answer_is_made_good_by_publishing_again(world: World) -> None:
    role = signed(world)
    first, second = publish(world, role), publish(world, role)
    assert first == second
    assert first is not None
    assert first.version == 1


def test_the_lock_is_a_file_for_people_and_version_control(tmp_path: Path, world: World) -> None:
    lock = signed(world).lock
    path = tmp_path / "fleet.lock"
    assert read_lock(path) is None
    write_lock(path, lock)
    assert path.read_text().splitlines() == [
        "{",
        f'  "root_sha256": "{lock.root_sha256}",',
        '  "root_version": 1,',
        '  "role": "release/cam",',
        '  "role_version": 1,',
        '  "last_counter": 1',
        "}",
    ]
    assert read_lock(path) == lock


@pytest.mark.parametrize("text", ["", "{}", "null", '{"root_version": -1}'])
def test_a_damaged_lock_is_never_a_first_release(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.lock").write_text(text)
    with pytest.raises(DocumentInvalidError):
        read_lock(tmp_path / "fleet.lock")


def test_what_is_signed_is_what_was_made(world: World) -> None:
    role = signed(world)
    [(digest, data)] = role.targets.items()
    assert sha256(data) == digest
    assert Release.parse(data) == a_release()(1)
    assert json.loads(role.data)["signed"]["targets"]["releases/cam/1.9.0.json"]["hashes"] == {"sha256": digest}
