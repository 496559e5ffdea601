"""Bytes and operations per second to and from disks, on v1 (blkio.throttle.*) and v2 (io.max)."""

from __future__ import annotations

from typing import Any, NamedTuple

from edge_daemon.keeper.runtime import groups, readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies


class Rate(NamedTuple):
    """Of one disk; None: unlimited."""

    read_bps: int | None = None
    write_bps: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None


Rates = dict[str, Rate]
"""By `major:minor`."""

OCI_KEYS = {
    "read_bps": "throttleReadBpsDevice",
    "write_bps": "throttleWriteBpsDevice",
    "read_iops": "throttleReadIOPSDevice",
    "write_iops": "throttleWriteIOPSDevice",
}
V1_FILES = {field: f"blkio.throttle.{field}_device" for field in Rate._fields}
V2_KEYS = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}


def of(resources: dict[str, Any]) -> Rates:
    """Those of an OCI configuration."""
    limits: dict[str, Any] = resources.get("blockIO", {})
    out: Rates = {}
    for field, key in OCI_KEYS.items():
        for entry in limits.get(key, []):
            name = f"{entry['major']}:{entry['minor']}"
            out[name] = out.get(name, Rate())._replace(**{field: entry["rate"]})
    return out


def apply(hierarchies: Hierarchies, group: str, rates: Rates) -> None:
    """Leave exactly these in force. Where there is no such controller, and nothing is asked, there is nothing to do."""
    own = readings.files(hierarchies, "blkio", group)
    if own.folder is None and rates:
        raise RuntimeFailedError("this kernel has no io controller to hold the limit", element=group)
    if own.v2:
        for device in sorted({*_devices(own.text("io.max")), *rates}):
            asked = rates.get(device, Rate())._asdict()
            words = " ".join(f"{key}={asked[field] or 'max'}" for field, key in V2_KEYS.items())
            groups.write(own.folder or "", "io.max", f"{device} {words}")
        return
    for field, name in V1_FILES.items():
        wanted = {device: rate._asdict()[field] for device, rate in rates.items()}
        for device in sorted({*_devices(own.text(name)), *(d for d, rate in wanted.items() if rate)}):
            groups.write(own.folder or "", name, f"{device} {wanted.get(device) or 0}")


def _devices(text: str | None) -> set[str]:
    return {line.split(" ", 1)[0] for line in (text or "").splitlines() if line}
