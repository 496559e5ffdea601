"""Which limits of a container this host's kernel enforces: one table for cgroup v2 and one for v1."""

from __future__ import annotations

from enum import StrEnum

from edge_daemon.posture.facts import CgroupMode, Facts


class Means(StrEnum):
    """How a limit is kept."""

    ENFORCED = "enforced"
    EMULATED = "emulated"  # by the keeper, with a delay
    ABSENT = "absent"


# limit -> (v2 controller, v1 controller, what v1 does when it has that controller)
TABLE: dict[str, tuple[str, str, Means]] = {
    "memory": ("memory", "memory", Means.ENFORCED),
    "memory-high": ("memory", "memory", Means.ABSENT),
    "swap": ("memory", "memory", Means.ENFORCED),
    "oom-group": ("memory", "memory", Means.EMULATED),
    "cpu": ("cpu", "cpu", Means.ENFORCED),
    "cpu-weight": ("cpu", "cpu", Means.ENFORCED),
    "cpuset": ("cpuset", "cpuset", Means.ENFORCED),
    "pids": ("pids", "pids", Means.ENFORCED),
    "io": ("io", "blkio", Means.ENFORCED),
    "devices": ("", "devices", Means.ENFORCED),  # v2: by BPF, no controller
}


def enforcement(facts: Facts) -> dict[str, Means]:
    """For each limit, how this host keeps it."""
    return {limit: _means(facts, limit) for limit in TABLE}


def _means(facts: Facts, limit: str) -> Means:
    on_v2, on_v1, in_v1 = TABLE[limit]
    if facts.cgroup_mode is CgroupMode.NONE:
        return Means.ABSENT
    if limit == "swap" and facts.swap_bytes and facts.swap_accounting is False:
        return Means.ABSENT
    if facts.cgroup_mode is CgroupMode.V2:
        return Means.ENFORCED if not on_v2 or on_v2 in facts.controllers else Means.ABSENT
    return in_v1 if on_v1 in facts.controllers else Means.ABSENT
