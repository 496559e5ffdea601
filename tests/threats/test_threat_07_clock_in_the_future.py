"""Row 7: a clock in 2099 does not end updates for ever."""

from __future__ import annotations

from datetime import UTC, datetime

from trust_support import NOW, Device, World

from fleet_protocol.trust.verifier import Accepted


def test_threat_07_a_device_in_2099_takes_an_update_after_a_signed_time(world: World, device: Device) -> None:
    envelope = world.desired(("cam", "1.9.0", world.release()))
    device.time.now = datetime(2099, 1, 1, tzinfo=UTC)
    device.boot()
    device.verifier.update_time(device.ask_time)
    assert device.clock.now() == NOW
    assert isinstance(device.verifier.verify(envelope), Accepted)


def test_threat_07_also_after_a_first_state_was_made_under_the_right_clock(world: World, device: Device) -> None:
    device.take(world.desired(("cam", "1.9.0", world.release())))
    device.time.now = datetime(2099, 1, 1, tzinfo=UTC)
    device.boot()
    device.verifier.update_time(device.ask_time)
    assert isinstance(device.verifier.verify(world.desired(generation=2)), Accepted)
    assert device.clock.floor() == int(NOW.timestamp())


def test_threat_07_a_clock_a_year_ahead_is_corrected_by_a_signed_time(world: World, device: Device) -> None:
    device.time.now = NOW.replace(year=2027)
    device.boot()
    device.clock.save()  # believed, wrongly, and kept
    device.verifier.update_time(device.ask_time)
    assert isinstance(device.verifier.verify(world.desired(generation=2)), Accepted)
