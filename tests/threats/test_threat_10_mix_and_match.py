"""Row 10: parts of different times of one repository."""

from __future__ import annotations

import pytest
from trust_support import NOW, Device, World
from tuf_tampering_support import current, lead_to

from fleet_protocol.wire.errors import TrustError


def test_threat_10_a_role_of_another_time_under_the_true_snapshot_is_refused(world: World, device: Device) -> None:
    world.release("1.0.0")
    first = current(world, "release/cam")
    world.release("2.0.0")
    device.answers["metadata", "2.release/cam"] = first
    device.client.refresh()
    with pytest.raises(TrustError, match=r"hash|length"):
        device.client.app_role("cam")


def test_threat_10_targets_of_another_time_are_refused(world: World, device: Device) -> None:
    first = current(world, "targets")
    world.trust.renew_targets(NOW)
    world.trust.upload(world)
    device.answers["metadata", "3.targets"] = first
    device.boot()
    with pytest.raises(TrustError, match=r"hash|length"):
        device.client.refresh()


def test_threat_10_the_role_of_another_app_in_its_place_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World(tmp_path_factory.mktemp("two"), apps=("cam", "db"))
    world.release("1.0.0", "cam")
    world.release("1.0.0", "db")
    device = world.device()
    db = current(world, "release/db")
    lead_to(world, device, lambda _: None, files={"release/cam": db})
    with pytest.raises(TrustError, match=r"0/1 keys|outside of"):
        device.client.app_role("cam")
    device.close()


def test_threat_10_a_release_of_another_version_is_refused(world: World, device: Device) -> None:
    world.release("1.0.0")
    target = world.release("2.0.0")
    path = f"releases/cam/{target}.2.0.0.json"
    first = next(iter(world.repository.releases()["cam"].values())).to_bytes()
    device.answers["target", path] = first
    with pytest.raises(TrustError, match="the bytes are not those that were signed for"):
        device.verify(world.desired(("cam", "2.0.0", target)))
