"""Row 8: a server that never stops sending."""

from __future__ import annotations

import pytest
from trust_support import Device, World

from fleet_protocol.wire.errors import RoadsteadError, TrustError

CHUNK = 4096


def endless(counted: list[int]) -> object:
    """A transport as `Fetch` asks for it: reads chunks of a stream that has no end, and stops above the bound."""

    def fetch(kind: str, name: str, max_bytes: int) -> bytes:
        data = b""
        while len(data) <= max_bytes:
            data += b" " * CHUNK
        counted.append(len(data) - max_bytes)
        return data

    return fetch


def test_threat_08_nothing_is_asked_for_without_a_bound_and_more_is_refused(world: World, device: Device) -> None:
    counted: list[int] = []
    device.source = endless(counted)  # type: ignore[assignment]
    device.boot()
    with pytest.raises(TrustError, match="at most"):
        device.client.refresh()
    assert all(0 < over <= CHUNK for over in counted)
    assert all(0 < bound <= 512 * 1024 for _, _, bound in device.asked)


def test_threat_08_each_file_is_bounded_by_what_was_signed_for_it(world: World, device: Device) -> None:
    target = world.release()
    envelope = world.desired(("cam", "1.9.0", target))
    device.verify(envelope)
    asked = [name for _, name, _ in device.asked]
    bounds = {name: bound for _, name, bound in device.asked}
    real = {n: device.fetch(k, n, b) for k, n, b in list(device.asked) if n != "2.root"}
    for name in asked:
        if name not in ("timestamp", "2.root"):
            assert bounds[name] == len(real[name]), name
    for name, data in real.items():
        fresh = world.device(f"d-{name.replace('/', '-').replace('.', '-')[:20].strip('-').lower()}")
        kind = "target" if name.startswith(("releases/", "roadstead/")) else "metadata"
        fresh.answers[kind, name] = data + b" " * (bounds[name] + 1 - len(data))
        with pytest.raises(RoadsteadError):
            fresh.verify(envelope)
        fresh.close()
