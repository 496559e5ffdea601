"""What this host has for apps, read from the kernel just now. Whether it is enough is `admission`'s to say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edge_daemon.keeper.runtime import readings
from edge_daemon.keeper.runtime.hierarchies import Hierarchies, detect
from edge_daemon.layout import Layout
from edge_daemon.prepare import admission
from fleet_protocol.documents.release import Release


def read_capacity(cgroup_parent: str, reserve: int | None) -> admission.Capacity:
    """Memory, cores and process ids of this host, or of the group that the containers stand in where that has less."""
    hierarchies = detect()
    return admission.capacity(
        memory_total=_memory_total(_text("/proc/meminfo")),
        group_memory=_least(hierarchies, cgroup_parent, "memory", "memory.limit_in_bytes", "memory.max"),
        reserve=reserve,
        cpus=os.cpu_count() or 1,
        pid_max=_lower(_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max")),
        group_pids=_least(hierarchies, cgroup_parent, "pids", "pids.max", "pids.max"),
    )


def volume_bytes(layout: Layout, releases: Iterable[Release]) -> int:
    """What volumes will take on this disk that they have not yet."""
    quotas = {
        layout.volumes / release.app / f"{volume.name}.img": volume.quota_bytes
        for release in releases
        for service in release.services
        for volume in service.volumes
    }
    return sum(max(0, quota - (image.stat().st_size if image.exists() else 0)) for image, quota in quotas.items())


def _least(hierarchies: Hierarchies, parent: str, controller: str, v1_name: str, v2_name: str) -> int | None:
    """The lowest limit of the apps' group and of all that it stands in; None where none is set."""
    lowest: int | None = None
    group = f"/{parent.strip('/')}/apps"
    while group:
        found = readings.files(hierarchies, controller, group).number(v1_name, v2_name)
        if found is not None and found < readings.V1_UNLIMITED:
            lowest = _lower(lowest, found)
        group = group.rpartition("/")[0]
    return lowest


def _memory_total(meminfo: str | None) -> int | None:
    for line in (meminfo or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal" and (kib := readings.number(value.removesuffix("kB"))) is not None:
            return kib * 1024
    return None


def _lower(one: int | None, other: int | None) -> int | None:
    known = [number for number in (one, other) if number is not None]
    return min(known, default=None)


def _number(path: str) -> int | None:
    return readings.number(_text(path))


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
