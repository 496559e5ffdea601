"""Row 11: a genuine desired state of device A, delivered to B."""

from __future__ import annotations

import pytest
from trust_support import Device, World

from fleet_protocol.trust.errors import OtherDeviceError


def test_threat_11_a_genuine_document_of_another_device_is_refused(world: World, device: Device) -> None:
    target = world.release()
    other = world.device("pump-4")
    envelope = world.desired(("cam", "1.9.0", target), device_id="pump-4", generation=7)
    assert other.take(envelope).generation == 7
    with pytest.raises(OtherDeviceError, match="it is for device pump-4, and this is pump-3"):
        device.verify(envelope)
    assert device.store is not None
    assert device.store.accepted() is None
    other.close()


def test_threat_11_the_replay_raises_no_alarm_and_suppresses_nothing(world: World, device: Device) -> None:
    target = world.release()
    device.take(world.desired(("cam", "1.9.0", target), generation=7))
    for generation in (6, 7, 8):
        with pytest.raises(OtherDeviceError):
            device.verify(world.desired(device_id="pump-4", generation=generation))
    assert device.take(world.desired(("cam", "1.9.0", target), generation=8)).generation == 8
