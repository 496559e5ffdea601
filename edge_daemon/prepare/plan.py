"""What is still to be done before a desired state can run here, as data. Pure: no clock, socket or file.

Rules: a layer is fetched and unpacked once, by diff ID, whatever images it belongs to; what lies in the store already
costs nothing; a plan that does not fit is refused before its first byte is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_daemon.prepare.errors import PlanError
from edge_daemon.prepare.manifest import Layer

RESERVE_BYTES = 64 << 20  # what must stay free for the host itself and our own databases
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One platform image of the desired state, its manifest and configuration already read."""

    app: str
    manifest: str  # digest
    layers: tuple[Layer, ...]
    unpacked_bytes: int  # signed: the most that its layers hold together


@dataclass(frozen=True, slots=True)
class FetchLayer:
    """Download one blob, or the rest of it."""

    app: str
    layer: Layer
    bytes_missing: int


@dataclass(frozen=True, slots=True)
class UnpackLayer:
    """Unpack one downloaded blob into the store, within what the signed size of its image leaves for it."""

    image: PlannedImage
    layer: Layer


Step = FetchLayer | UnpackLayer


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order: fetches alternate with the unpacking that they make possible."""

    steps: tuple[Step, ...]
    fetch_bytes: int
    disk_bytes: int  # the most that the store grows, downloads included

    @property
    def fetches(self) -> tuple[FetchLayer, ...]:
        """The downloads alone, in order."""
        return tuple(s for s in self.steps if isinstance(s, FetchLayer))


def plan(images: tuple[PlannedImage, ...], unpacked: Mapping[str, int], partial: Mapping[str, int]) -> Plan:
    """`unpacked`: file bytes of each layer in the store, by diff ID; `partial`: bytes already here, by blob."""
    steps: list[Step] = []
    planned: set[str] = set()
    fetch = disk = 0
    for image in images:
        left = room(image, unpacked)
        missing = [x for x in _once(image.layers) if x.diff_id not in unpacked and x.diff_id not in planned]
        for layer in missing:
            planned.add(layer.diff_id)
            lacking = layer.blob.size - min(partial.get(layer.blob.hex, 0), layer.blob.size)
            steps += [FetchLayer(image.app, layer, lacking), UnpackLayer(image, layer)]
            fetch += lacking
            disk += lacking
        if missing:
            disk += left
    return Plan(tuple(steps), fetch, disk)


def room(image: PlannedImage, unpacked: Mapping[str, int]) -> int:
    """File bytes left for the image's missing layers. Raises PlanError if those here exceed the signed size."""
    known = sum(unpacked[layer.diff_id] for layer in _once(image.layers) if layer.diff_id in unpacked)
    if known > image.unpacked_bytes:
        raise PlanError(
            f"its layers hold {known} bytes, the release signed {image.unpacked_bytes}", element=image.manifest[:19]
        )
    return image.unpacked_bytes - known


def check_room(needed: int, free: int, *, volumes: int = 0, quota: int | None = None, pinned: int = 0) -> None:
    """Raises PlanError when `needed` bytes do not fit beside the reserve and what new `volumes` take, or beside what is
    `pinned` within `quota`.
    """
    usable = max(0, free - RESERVE_BYTES)
    if needed + volumes > usable:
        of = f" ({megabytes(volumes)} MB of it for volumes)" if volumes else ""
        raise PlanError(
            f"{megabytes(needed + volumes)} MB needed{of}, {megabytes(usable)} MB free after clean-up",
            element="the image store",
            hint="free space on the host, or make the release smaller",
        )
    if quota is not None and needed + pinned > quota:
        raise PlanError(
            f"{megabytes(needed)} MB needed beside {megabytes(pinned)} MB that must stay, "
            f"the quota for images is {megabytes(quota)} MB",
            element="the image store",
            hint="raise images_quota_bytes in the fleet's settings",
        )


def megabytes(count: int) -> int:
    """Rounded up, so that nothing needed ever reads as 0."""
    return -(-count // MB)


def _once(layers: tuple[Layer, ...]) -> list[Layer]:
    """An image may list one layer twice (empty layers); it lies on disk once."""
    return list({layer.diff_id: layer for layer in layers}.values())
