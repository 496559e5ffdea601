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
    counts = cpu.text("cpu.stat")
    if cpu.v2:
        spent, throttled = keyed(counts, "usage_usec"), keyed(counts, "throttled_usec")
    else:
        account = files(hierarchies, "cpuacct", group)
        spent = _thousandth(number(account.text("cpuacct.usage")))
        throttled = _thousandth(keyed(counts, "throttled_time"))
    read, written = _disk(files(hierarchies, "blkio", group))
    return Usage(
        memory_bytes=memory.number("memory.usage_in_bytes", "memory.current"),
        memory_peak_bytes=memory.number("memory.max_usage_in_bytes", "memory.peak"),
        cpu_usec=spent,
        throttled_usec=throttled,
        pids=number(pids.text("pids.current")),
        oom_kills=keyed(memory.text("memory.events" if memory.v2 else "memory.oom_control"), "oom_kill"),
        cpu_stalled_usec=_stalled(hierarchies, group, "cpu"),
        memory_stalled_usec=_stalled(hierarchies, group, "memory"),
        io_stalled_usec=_stalled(hierarchies, group, "io"),
        io_read_bytes=read,
        io_write_bytes=written,
        memory_anon_bytes=keyed(memory.text("memory.stat"), "anon" if memory.v2 else "total_rss"),
    )


def _stalled(hierarchies: Hierarchies, group: str, what: str) -> int | None:
    """Pressure is counted in the v2 hierarchy, also where the controllers are v1's and the group stands in both."""
    if hierarchies.unified is None:
        return None
    text = Files(f"{hierarchies.unified}{group}", v2=True).text(f"{what}.pressure") or ""
    some = next((line for line in text.splitlines() if line.startswith("some ")), "")
    return number(some.rpartition("total=")[2])


def _disk(blkio: Files) -> tuple[int | None, int | None]:
    """Bytes read and written, of all disks together."""
    text = blkio.text("io.stat" if blkio.v2 else "blkio.throttle.io_service_bytes_recursive")
    if text is None:
        return None, None
    read = written = 0
    for line in text.splitlines():
        words = line.split()
        pairs = [word.partition("=")[::2] for word in words[1:]] if blkio.v2 else [tuple(words[-2:])]
        for pair in pairs:
            if len(pair) == 2 and (count := number(pair[1])) is not None:
                read += count if pair[0] in ("rbytes", "Read") else 0
                written += count if pair[0] in ("wbytes", "Write") else 0
    return read, written


def network(devices: str | None) -> tuple[int | None, int | None]:
    """Bytes received and sent by all interfaces but the loopback, from the text of /proc/PID/net/dev."""
    if devices is None:
        return None, None
    received = sent = 0
    for line in devices.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and name.strip() != "lo" and len(fields) >= 9:
            received += number(fields[0]) or 0
            sent += number(fields[8]) or 0
    return received, sent


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
