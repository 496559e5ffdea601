"""Bytes per second to and from disks, on v1 (blkio.throttle.*) and v2 (io.max)."""

from __future__ import annotations

from typing import Any

from edge_daemon.keeper.runtime import groups, readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies

Rates = dict[str, tuple[int | None, int | None]]
"""(read, write) by `major:minor`; None: unlimited."""

V1_FILES = ("blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device")


def of(resources: dict[str, Any]) -> Rates:
    """Those of an OCI configuration."""
    limits: dict[str, Any] = resources.get("blockIO", {})
    out: Rates = {}
    for place, key in enumerate(("throttleReadBpsDevice", "throttleWriteBpsDevice")):
        for entry in limits.get(key, []):
            name = f"{entry['major']}:{entry['minor']}"
            read, write = out.get(name, (None, None))
            out[name] = (entry["rate"], write) if place == 0 else (read, entry["rate"])
    return out


def apply(hierarchies: Hierarchies, group: str, rates: Rates) -> None:
    """Leave exactly these in force. Where there is no such controller, and nothing is asked, there is nothing to do."""
    own = readings.files(hierarchies, "blkio", group)
    if own.folder is None and rates:
        raise RuntimeFailedError("this kernel has no io controller to hold the limit", element=group)
    if own.v2:
        known = _devices(own.text("io.max"))
        for device in sorted({*known, *rates}):
            read, write = rates.get(device, (None, None))
            groups.write(own.folder or "", "io.max", f"{device} rbps={read or 'max'} wbps={write or 'max'}")
        return
    for place, name in enumerate(V1_FILES):
        known = _devices(own.text(name))
        asked = {device: pair[place] for device, pair in rates.items() if pair[place]}
        for device in sorted({*known, *asked}):
            groups.write(own.folder or "", name, f"{device} {asked.get(device) or 0}")


def _devices(text: str | None) -> set[str]:
    return {line.split(" ", 1)[0] for line in (text or "").splitlines() if line}
