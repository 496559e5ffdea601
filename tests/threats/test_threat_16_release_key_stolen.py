"""Row 16: somebody holds the release key of one app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trust_support import NOW, Device, World, a_release, new_key
from tuf_tampering_support import current, lead_to, resigned

from fleet_protocol.documents.release import Withdrawal
from fleet_protocol.trust.errors import WithdrawnError
from fleet_protocol.trust.verifier import Stop
from fleet_protocol.wire.errors import RoadsteadError, TrustError
from fleet_release.trust.ceremony import KeySet
from fleet_release.trust.release_role import add_release, withdraw


@pytest.fixture
def two(tmp_path: Path) -> World:
    made = World(tmp_path / "two-apps", apps=("cam", "db"))
    made.release("1.0.0", "cam")
    made.release("1.0.0", "db")
    return made


def test_threat_16_the_key_of_one_app_signs_nothing_for_another(two: World) -> None:
    device = two.device()
    thief = two.trust.release_signer("cam")
    bad = resigned(current(two, "release/db"), lambda s: setattr(s, "version", 2), thief)
    with pytest.raises(TrustError, match="not signed by enough"):
        two.put_metadata("release/db", bad, 1)
    lead_to(two, device, lambda _: None, files={"release/db": bad})
    with pytest.raises(TrustError, match="release/db was signed by 0/1 keys"):
        device.client.app_role("db")
    device.close()


def test_threat_16_nor_lists_a_path_outside_its_own(two: World) -> None:
    device = two.device()
    thief = two.trust.release_signer("cam")

    def elsewhere(signed: Any) -> None:
        signed.version += 1
        signed.targets["releases/db/6.6.6.json"] = signed.targets.pop("releases/cam/1.0.0.json")

    bad = resigned(current(two, "release/cam"), elsewhere, thief)
    with pytest.raises(TrustError, match="outside of releases/cam/"):
        two.put_metadata("release/cam", bad, 1)
    lead_to(two, device, lambda _: None, files={"release/cam": bad})
    with pytest.raises(TrustError, match="outside of releases/cam/"):
        device.client.app_role("cam")
    device.close()


def test_threat_16_one_of_two_keys_releases_nothing_where_two_are_needed(world: World, tmp_path: Path) -> None:
    second = new_key(tmp_path, "second")
    world.trust.add_app("prod", NOW, KeySet(threshold=2, others=(second.public,)))
    world.trust.upload(world)
    with pytest.raises(RoadsteadError, match="1/2 keys"):
        world.published(add_release(world.opened("prod"), a_release("prod"), [second], NOW))


def test_threat_16_a_withdrawal_stops_what_was_accepted_and_is_never_accepted_again(
    world: World, device: Device
) -> None:
    target = world.release("6.6.6")
    device.take(world.desired(("cam", "6.6.6", target)))
    signer = world.trust.release_signer("cam")
    gone = Withdrawal(version="6.6.6", effect="stop", reason="signed by a thief")
    world.published(withdraw(world.opened(), gone, [signer], NOW))
    device.boot()
    assert device.verifier.stops().releases == (Stop("cam", "6.6.6", "signed by a thief"),)
    with pytest.raises(WithdrawnError, match=r"cam 6\.6\.6 was withdrawn: signed by a thief"):
        device.verify(world.desired(("cam", "6.6.6", target), generation=2))


def test_threat_16_replaced_keys_end_everything_that_the_stolen_one_signed(world: World, device: Device) -> None:
    target = world.release("6.6.6")
    fresh = new_key(world.folder, "fresh")
    world.trust.replace_release_keys("cam", NOW, (fresh.public,))
    world.trust.upload(world)
    with pytest.raises(TrustError, match="0/1 keys"):
        device.verify(world.desired(("cam", "6.6.6", target)))
    with pytest.raises(TrustError, match="0/1 keys"):
        world.opened()
    again = add_release(world.opened(begin_anew=True), a_release(version="1.0.0"), [fresh], NOW)
    world.published(again)
    good = world.desired(("cam", "1.0.0", next(iter(again.targets))))
    assert device.verify(good).generation == 1
    with pytest.raises(TrustError, match=r"does not sign 6\.6\.6"):
        device.verify(world.desired(("cam", "6.6.6", target)))


def test_threat_16_a_server_cannot_bring_the_old_keys_back(world: World, device: Device) -> None:
    world.release("6.6.6")
    old = current(world, "targets")
    world.trust.replace_release_keys("cam", NOW, (new_key(world.folder, "fresh").public,))
    world.trust.upload(world)
    device.client.refresh()
    lead_to(world, device, lambda _: None, files={"targets": old})
    device.boot()
    with pytest.raises(TrustError, match=r"targets\.json version"):
        device.client.refresh()
