"""Metadata as an attacker would make it, with the keys that the attacker has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trust_support import Device, World, sha256

from fleet_protocol.trust.tuf_api import Metadata
from fleet_protocol.trust.tuf_keys import TufSigner

Edit = Callable[[Any], None]


def resigned(data: bytes, edit: Edit, *signers: Any) -> bytes:
    """`data` after `edit` of its signed part, with signatures of `signers` alone."""
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    edit(metadata.signed)
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(TufSigner(signer), append=True)
    return metadata.to_bytes()


def current(world: World, role: str) -> bytes:
    data = world.repository.current(role)
    assert data is not None
    return data


def lead_to(world: World, device: Device, edit: Edit, *, files: dict[str, bytes] | None = None) -> None:
    """A next snapshot after `edit` and a timestamp that leads to it, signed by the server's true on-line keys.

    `files`: role -> metadata that the snapshot shall list as it is.
    """
    number = world.repository.version("snapshot") + 1

    def next_snapshot(signed: Any) -> None:
        signed.version = number
        for role, data in (files or {}).items():
            meta = signed.meta[f"{role}.json"]
            meta.version = Metadata.from_bytes(data).signed.version
            meta.length, meta.hashes = len(data), {"sha256": sha256(data)}
            device.answers["metadata", f"{meta.version}.{role}"] = data
        edit(signed)

    snapshot = resigned(current(world, "snapshot"), next_snapshot, world.snapshot)

    def next_timestamp(signed: Any) -> None:
        signed.version += 1
        meta = signed.snapshot_meta
        meta.version, meta.length, meta.hashes = number, len(snapshot), {"sha256": sha256(snapshot)}

    device.answers["metadata", f"{number}.snapshot"] = snapshot
    device.answers["metadata", "timestamp"] = resigned(current(world, "timestamp"), next_timestamp, world.timestamp)


def nothing(_: Any) -> None:
    """No edit."""
