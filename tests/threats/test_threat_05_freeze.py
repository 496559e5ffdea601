"""Row 5: a server, or somebody between, that shows the same old repository for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from trust_support import Device, World

from fleet_protocol.trust.errors import ExpiredError
from fleet_protocol.wire.errors import TrustError


@pytest.mark.parametrize("days", [1, 2, 30, 300])
def test_threat_05_an_old_repository_is_refused_once_its_timestamp_has_expired(
    world: World, device: Device, days: int
) -> None:
    target = world.release()
    device.take(world.desired(("cam", "1.9.0", target), generation=1))
    device.time.move(days=days)
    fresh = world.desired(("cam", "1.9.0", target), generation=2, expires=2**40)
    with pytest.raises(ExpiredError, match=r"timestamp\.json is expired; the time is taken to be"):
        device.verify(fresh)


def test_threat_05_on_line_keys_alone_cannot_freeze_longer_than_the_apps_role_lives(
    world: World, device: Device
) -> None:
    """A server that signs timestamps on and on, and withholds the role with the withdrawal: 30 days, and no more."""
    target = world.release()
    envelope = world.desired(("cam", "1.9.0", target), generation=1, expires=2**40)
    for clock in (world.time, device.time):
        clock.move(days=30, seconds=-1)
    world.repository.refresh_timestamp(world.time.now)
    assert device.verify(envelope).generation == 1
    for clock in (world.time, device.time):
        clock.move(seconds=2)
    with pytest.raises(ExpiredError, match="release/cam is expired"):
        device.verify(envelope)


def test_threat_05_what_runs_is_not_touched_by_expiry(world: World, device: Device) -> None:
    device.take(world.desired(("cam", "1.9.0", world.release()), generation=1))
    device.time.move(days=300)
    device.boot(expect_existing=True)
    with pytest.raises(TrustError):
        device.verifier.verify(world.desired(generation=2))
    assert device.store is not None
    assert set(device.store.accepted_apps()) == {"cam"}
    assert device.clock.now() - world.time.now == timedelta(days=300)
