"""Row 3: older metadata and older desired states, played again."""

from __future__ import annotations

import pytest
from trust_support import NOW, Device, World
from tuf_tampering_support import current, lead_to, nothing

from fleet_protocol.trust.errors import OlderGenerationError
from fleet_protocol.trust.verifier import Current
from fleet_protocol.wire.errors import TrustError


def test_threat_03_every_older_desired_state_is_refused(world: World, device: Device) -> None:
    target = world.release()
    seen = [world.desired(("cam", "1.9.0", target), generation=g) for g in range(1, 9)]
    for number, envelope in enumerate(seen):
        device.take(envelope)
        for old in seen[:number]:
            with pytest.raises(OlderGenerationError):
                device.verify(old)
        assert isinstance(device.verify(envelope), Current)


def test_threat_03_every_older_timestamp_is_refused(world: World, device: Device) -> None:
    seen = [current(world, "timestamp")]
    device.client.refresh()
    for _ in range(5):
        world.repository.refresh_timestamp(NOW, force=True)
        device.boot()
        device.client.refresh()
        for old in seen:
            device.answers["metadata", "timestamp"] = old
            device.boot()
            with pytest.raises(TrustError, match="must be >="):
                device.client.refresh()
        device.answers.clear()
        seen.append(current(world, "timestamp"))


@pytest.mark.parametrize("role", ["targets", "release/cam"])
def test_threat_03_an_older_role_under_a_newer_snapshot_is_refused(world: World, device: Device, role: str) -> None:
    world.release()
    old = current(world, role)
    if role == "targets":
        world.trust.renew_targets(NOW)
        world.trust.upload(world)
    else:
        world.release("2.0.0")
    device.client.refresh()
    device.client.app_role("cam")
    lead_to(world, device, nothing, files={role: old})
    device.boot()
    with pytest.raises(TrustError, match=f"{role}.json version"):
        device.client.refresh()


def test_threat_03_an_older_snapshot_under_a_newer_timestamp_is_refused(world: World, device: Device) -> None:
    world.release()
    device.client.refresh()

    def older(signed: object) -> None:
        signed.version = 1  # type: ignore[attr-defined]

    lead_to(world, device, older)
    device.boot()
    with pytest.raises(TrustError):
        device.client.refresh()
