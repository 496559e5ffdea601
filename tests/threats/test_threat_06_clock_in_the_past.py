"""Row 6: a clock at 1970 makes nothing young again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from trust_support import Device, World
from tuf_tampering_support import current

from fleet_protocol.trust.errors import ExpiredError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_threat_06_an_expired_repository_is_refused_at_1970(world: World, device: Device) -> None:
    world.release()
    old = current(world, "timestamp")
    for clock in (world.time, device.time):
        clock.move(days=60)
    world.repository.refresh_timestamp(world.time.now)
    device.client.refresh()  # the floor is now 60 days later
    fresh = world.device("pump-4", time=type(device.time)(EPOCH))
    device.time.now = EPOCH
    device.answers["metadata", "timestamp"] = old
    device.boot()
    with pytest.raises(Exception, match=r"must be >=|is expired"):
        device.client.refresh()
    fresh.close()


def test_threat_06_the_floor_is_the_last_time_believed_not_the_clock(world: World, device: Device) -> None:
    for clock in (world.time, device.time):
        clock.move(days=60)
    world.repository.refresh_timestamp(world.time.now)
    device.client.refresh()
    for clock in (world.time, device.time):
        clock.move(hours=30)
    device.clock.save()
    device.time.now = EPOCH
    device.boot()
    with pytest.raises(ExpiredError, match=r"timestamp\.json is expired; the time is taken to be 2026-08-01 18:00"):
        device.client.refresh()


def test_threat_06_a_repository_older_than_the_product_is_refused_on_first_contact(
    world: World, device: Device
) -> None:
    """No state at all, and a clock at 1970: the build time is the floor."""
    from fleet_protocol.trust.clock import BUILD_TIME

    before = datetime.fromtimestamp(BUILD_TIME, UTC).replace(year=2025)
    world.repository.refresh_timestamp(before, force=True)
    device.time.now = EPOCH
    device.boot()
    with pytest.raises(ExpiredError, match="the time is taken to be 2026-01-01"):
        device.client.refresh()


def test_threat_06_an_old_time_statement_cannot_be_played_again(world: World, device: Device) -> None:
    nonce = device.clock.new_nonce()
    statement = world.time_statement(nonce, world.time.now)
    device.clock.accept(statement, nonce, (world.time_key.public,))
    with pytest.raises(Exception, match="its nonce is not ours"):
        device.clock.accept(statement, device.clock.new_nonce(), (world.time_key.public,))
