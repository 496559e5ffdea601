"""Time and chance as the keeper uses them.

Delays are measured on CLOCK_BOOTTIME: it never jumps, it counts suspended time, and /proc tells a process's start on
it. The wall clock only dates what people read; nothing waits for it and nothing is refused because of it.
"""

from __future__ import annotations

import os
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
NEVER = float("inf")

BUILD_TIME = 1_767_225_600  # 2026-01-01, as in fleet_protocol.trust.clock: no honest time lies before it


def boottime() -> float:
    """Seconds since the kernel started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall() -> int:
    """Seconds since 1970 for people; never negative."""
    return max(0, int(time.time()))


def at(wall: int) -> str:
    """A moment for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(wall))


def chance() -> float:
    """In [0, 1). Not from `random`, which would stay in memory for this alone."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


def boot_id() -> str:
    """The kernel's name of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def backoff(failures: int, *, base: float, cap: float, chance: float) -> float:
    """Seconds to wait after so many failures in a row; at least half of the ceiling, which grows and saturates."""
    ceiling = min(cap, base * 2.0 ** min(max(failures, 1) - 1, 32))
    return ceiling / 2 + chance * ceiling / 2


def full_jitter(failures: int, *, base: float, cap: float, chance: float) -> float:
    """The same from zero: for many hosts that lost one broker at one moment."""
    return chance * min(cap, base * 2.0 ** min(failures, 32))
