"""Which limits of a container this host's kernel enforces: one table for cgroup v2 and v1, also docs/limits.md's."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from edge_daemon.posture.facts import CgroupMode, Facts


class Means(StrEnum):
    """How a limit is kept."""

    ENFORCED = "enforced"
    EMULATED = "emulated"  # by the keeper, with a delay
    ABSENT = "absent"


class Kept(NamedTuple):
    """One version's way with a limit."""

    means: Means
    controller: str  # "": needs none
    file: str  # control file, or how else


class Limit(NamedTuple):
    """One row."""

    v2: Kept
    v1: Kept
    live: bool  # changes under a running container
    field: str  # of a release's limits; "": every container has it
    note: str = ""


def _on(controller: str, file: str, means: Means = Means.ENFORCED) -> Kept:
    return Kept(means, controller, file)


_ABSENT = Kept(Means.ABSENT, "memory", "")
_LOOP = Kept(Means.ENFORCED, "", "a loop device")
_RLIMITS = Kept(Means.ENFORCED, "", "rlimit")

TABLE: dict[str, Limit] = {
    "memory": Limit(_on("memory", "memory.max"), _on("memory", "memory.limit_in_bytes"), True, "memory_bytes",
        "Lowered only as far as the container can give back; else the container is replaced."),
    "memory-high": Limit(_on("memory", "memory.high"), _ABSENT, True, "memory_high_bytes",
        "v1 has nothing that slows a container down before its hard limit."),
    "swap": Limit(_on("memory", "memory.swap.max"), _on("memory", "memory.memsw.limit_in_bytes"), True, "",
        "Always off. Absent on a host with swap whose kernel does not account for it (`swapaccount=1`)."),
    "oom-group": Limit(_on("memory", "memory.oom.group"), _on("memory", "persist/oom", Means.EMULATED), False, "",
        "The whole container ends when one of its processes is killed for memory. On v1 the keeper ends the rest, "
        "at most 15 s later."),
    "cpu": Limit(_on("cpu", "cpu.max"), _on("cpu", "cpu.cfs_quota_us"), True, "cpu_millis"),
    "cpu-weight": Limit(_on("cpu", "cpu.weight"), _on("cpu", "cpu.shares"), True, "cpu_weight"),
    "cpuset": Limit(_on("cpuset", "cpuset.cpus"), _on("cpuset", "cpuset.cpus"), True, "cpuset"),
    "pids": Limit(_on("pids", "pids.max"), _on("pids", "pids.max"), True, "pids",
        "Lowered below what runs, it ends nothing: nothing new starts."),
    "io-read": Limit(_on("io", "io.max"), _on("blkio", "blkio.throttle.read_bps_device"), True, "io_read_bps",
        "Of the disk that holds the state directory. Absent where that lies on no disk of its own (overlay, tmpfs, "
        "btrfs)."),
    "io-write": Limit(_on("io", "io.max"), _on("blkio", "blkio.throttle.write_bps_device"), True, "io_write_bps",
        "The same. On v1 for direct writes alone: what the kernel writes later, it writes for everybody."),
    "io-read-operations": Limit(
        _on("io", "io.max"), _on("blkio", "blkio.throttle.read_iops_device"), True, "io_read_iops",
        "Operations a second, of the same disk."),
    "io-write-operations": Limit(
        _on("io", "io.max"), _on("blkio", "blkio.throttle.write_iops_device"), True, "io_write_iops",
        "The same as for bytes written."),
    "total-memory": Limit(_on("memory", "memory.max"), _on("memory", "memory.limit_in_bytes"), True,
        "total.memory_bytes", "Of all containers of an app together, on the group around them; likewise the next two."),
    "total-cpu": Limit(_on("cpu", "cpu.max"), _on("cpu", "cpu.cfs_quota_us"), True, "total.cpu_millis"),
    "total-pids": Limit(_on("pids", "pids.max"), _on("pids", "pids.max"), True, "total.pids"),
    "volumes": Limit(_LOOP, _LOOP, False, "volumes.quota_bytes",
        "Each volume is an ext4 file system of that size in a file whose room is taken when it is made, so it is full "
        "for its app alone. It grows with the quota at the next start, and never shrinks."),
    "devices": Limit(Kept(Means.ENFORCED, "", "a BPF program"), _on("devices", "devices.allow"), False, "",
        "Only those that the release is granted and the host's policy allows."),
    "open-files": Limit(_RLIMITS, _RLIMITS, False, "nofile", "Of each process; taken when a process starts."),
    "core": Limit(_RLIMITS, _RLIMITS, False, "", "Always 0: a core file may hold secrets."),
}  # fmt: skip


def enforcement(facts: Facts) -> dict[str, Means]:
    """For each limit, how this host keeps it."""
    return {limit: _means(facts, limit) for limit in TABLE}


def _means(facts: Facts, limit: str) -> Means:
    if facts.cgroup_mode is CgroupMode.NONE:
        return Means.ABSENT  # no container can be started
    if limit == "swap" and facts.swap_bytes and facts.swap_accounting is False:
        return Means.ABSENT
    kept = TABLE[limit].v2 if facts.cgroup_mode is CgroupMode.V2 else TABLE[limit].v1
    return kept.means if not kept.controller or kept.controller in facts.controllers else Means.ABSENT
