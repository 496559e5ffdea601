"""Row 12: version numbers used up by a thief of on-line keys."""

from __future__ import annotations

from typing import Any

import pytest
from trust_support import NOW, Device, World, new_key
from tuf_tampering_support import current, lead_to, resigned

from fleet_protocol.trust.repository import Repository
from fleet_protocol.wire.errors import TrustError

FAR = [2**63 - 1, 2**53 + 1, 2**53, 10**9, 1_000_003]


@pytest.mark.parametrize("version", FAR)
@pytest.mark.parametrize("first", [True, False], ids=["first contact", "later"])
def test_threat_12_no_version_jumps(world: World, device: Device, version: int, first: bool) -> None:
    if not first:
        device.client.refresh()

    def jump(signed: Any) -> None:
        signed.version = version

    device.answers["metadata", "timestamp"] = resigned(current(world, "timestamp"), jump, world.timestamp)
    device.boot()
    with pytest.raises(TrustError, match=r"jumps|beyond 2"):
        device.client.refresh()
    for edit in (lambda s: setattr(s.meta["targets.json"], "version", version), jump):
        lead_to(world, device, edit)
        device.boot()
        with pytest.raises(TrustError, match=r"jumps|beyond 2|not the|expected|Expected"):
            device.client.refresh()
    device.answers.clear()
    with_new_keys(world)
    device.boot()
    device.client.refresh()
    assert device.client.version("timestamp") == world.repository.version("timestamp")


def with_new_keys(world: World) -> None:
    """What an operator does after such a theft: new on-line keys, in a new root."""
    world.timestamp, world.snapshot = (new_key(world.folder, n) for n in ("timestamp-2", "snapshot-2"))
    world.repository = Repository(world.folder / "tuf", world.snapshot, world.timestamp)
    world.trust.renew_root(NOW, world.online_keys())
    world.trust.upload(world)


def test_threat_12_new_on_line_keys_in_root_begin_a_new_count(world: World, device: Device) -> None:
    def ahead(signed: Any) -> None:
        signed.version += 1_000_000

    device.client.refresh()
    device.answers["metadata", "timestamp"] = resigned(current(world, "timestamp"), ahead, world.timestamp)
    device.boot()
    device.client.refresh()
    device.answers.clear()
    device.boot()
    with pytest.raises(TrustError, match="must be >="):
        device.client.refresh()
    with_new_keys(world)
    assert device.verify(world.desired()).generation == 1


def test_threat_12_a_generation_beyond_2_to_the_53_is_no_generation(world: World, device: Device) -> None:
    for generation in (2**53 + 1, 2**63 - 1, 2**64):
        with pytest.raises(Exception, match="integer beyond"):
            device.verify(world.desired(generation=generation))
