"""What the kernel says of a group: use, and the limits that it enforces. Nothing is computed that it does not say.

A missing controller, a missing file and "unlimited" are None, never zero and never a guess.
"""

from __future__ import annotations

from typing import NamedTuple

from edge_daemon.keeper.ports import EnforcedLimits, Usage
from edge_daemon.keeper.runtime.hierarchies import Hierarchies

V1_UNLIMITED = 1 << 60  # v1 writes "no limit" as 2^63 rounded down to a page


class Files(NamedTuple):
    """A group's control files in one controller: the directory (None: no such controller) and which version's names."""

    folder: str | None
    v2: bool

    def text(self, name: str) -> str | None:
        """The content of a control file, None when it is not there."""
        if self.folder is None:
            return None
        try:
            with open(f"{self.folder}/{name}", encoding="ascii") as file:
                return file.read()
        except OSError:
            return None

    def number(self, v1_name: str, v2_name: str) -> int | None:
        """A file that holds one number."""
        return number(self.text(v2_name if self.v2 else v1_name))


def files(hierarchies: Hierarchies, controller: str, group: str) -> Files:
    """Where `controller` keeps its files of `group`."""
    return Files(hierarchies.folder(controller, group), hierarchies.is_v2(controller))


def usage(hierarchies: Hierarchies, group: str) -> Usage:
    """Use of the group and everything below it."""
    memory, cpu = files(hierarchies, "memory", group), files(hierarchies, "cpu", group)
    pids = files(hierarchies, "pids", group)
    if cpu.v2:
        spent, throttled = keyed(cpu.text("cpu.stat"), "usage_usec"), keyed(cpu.text("cpu.stat"), "throttled_usec")
    else:
        account = files(hierarchies, "cpuacct", group)
        spent = _thousandth(number(account.text("cpuacct.usage")))
        throttled = _thousandth(keyed(cpu.text("cpu.stat"), "throttled_time"))
    return Usage(
        memory_bytes=memory.number("memory.usage_in_bytes", "memory.current"),
        memory_peak_bytes=memory.number("memory.max_usage_in_bytes", "memory.peak"),
        cpu_usec=spent,
        throttled_usec=throttled,
        pids=number(pids.text("pids.current")),
        oom_kills=keyed(memory.text("memory.events" if memory.v2 else "memory.oom_control"), "oom_kill"),
    )


def limits(hierarchies: Hierarchies, group: str) -> EnforcedLimits:
    """The limits of the group itself, as the kernel will enforce them."""
    memory, cpu = files(hierarchies, "memory", group), files(hierarchies, "cpu", group)
    hard = memory.number("memory.limit_in_bytes", "memory.max")
    if hard is not None and hard >= V1_UNLIMITED:
        hard = None
    if cpu.v2:
        millis = parse_cpu_max(cpu.text("cpu.max"))
    else:
        millis = cpu_millis(number(cpu.text("cpu.cfs_quota_us")), number(cpu.text("cpu.cfs_period_us")))
    return EnforcedLimits(
        memory_bytes=hard,
        swap_bytes=_swap(memory, hard),
        cpu_millis=millis,
        pids=number(files(hierarchies, "pids", group).text("pids.max")),
    )


def _swap(memory: Files, hard: int | None) -> int | None:
    if memory.v2:
        return number(memory.text("memory.swap.max"))
    both = number(memory.text("memory.memsw.limit_in_bytes"))
    if both is None or hard is None or both >= V1_UNLIMITED:
        return None
    return both - hard


def number(text: str | None) -> int | None:
    """One number; None for "max", for anything else that is no number, and for no file."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def keyed(text: str | None, key: str) -> int | None:
    """The number after `key` in a file of `key number` lines."""
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return number(value)
    return None


def cpu_millis(quota: int | None, period: int | None) -> int | None:
    """Thousandths of a core; None for no quota."""
    if quota is None or quota <= 0 or not period:
        return None
    return quota * 1000 // period


def parse_cpu_max(text: str | None) -> int | None:
    """The v2 form `quota period`, or `max period`."""
    parts = (text or "").split()
    return cpu_millis(number(parts[0]), number(parts[1])) if len(parts) == 2 else None


def _thousandth(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // 1000
