"""Processes named by pid and start time together: a pid alone may be somebody else's by now."""

from __future__ import annotations

import os
import signal


def parse_stat(text: str) -> tuple[str, int] | None:
    """(state, start time in ticks) from /proc/PID/stat. The name in it may hold anything, a bracket too."""
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    return fields[0], int(fields[19])


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for no process, and for a dead one that nobody has reaped yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            parsed = parse_stat(file.read())
    except OSError:
        return None
    if parsed is None or parsed[0] in "ZXx":
        return None
    return parsed[1]


def lives(pid: int | None, ticks: int | None) -> bool:
    """Whether exactly this process still runs."""
    return pid is not None and ticks is not None and start_ticks(pid) == ticks


def handle(pid: int | None, ticks: int | None) -> int | None:
    """A pidfd of exactly this process, or None. Readable when it ends; the caller closes it."""
    if pid is None or ticks is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    if start_ticks(pid) != ticks:  # checked after opening: from here on the handle cannot change its meaning
        os.close(pidfd)
        return None
    return pidfd


def send(pid: int | None, ticks: int | None, number: int) -> bool:
    """Send a signal to exactly this process; False if it is gone."""
    pidfd = handle(pid, ticks)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def signal_number(name: str) -> int | None:
    """SIGTERM and its like, also SIGRTMIN+3; None for no such signal."""
    base, _, offset = name.partition("+")
    number = getattr(signal, base, None) if base.startswith("SIG") and not base.startswith("SIG_") else None
    if not isinstance(number, int) or (offset and not offset.isdigit()):
        return None
    number = int(number) + int(offset or 0)
    return number if 0 < number <= signal.SIGRTMAX else None


def boot_id() -> str:
    """The kernel's name of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
