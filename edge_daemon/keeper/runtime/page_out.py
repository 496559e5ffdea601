"""Giving back the keeper's idle pages: what only its start needed. Run by the starter.

After its first report the keeper sleeps, mostly, on the code of two libraries and an interpreter of which it will use a
part. The kernel takes back what of it comes from files and is mapped by nobody else; what is used again returns by a
page fault. See madvise(2), MADV_PAGEOUT, and process_madvise(2), Linux 5.10.
"""

from __future__ import annotations

import os
import re

from edge_daemon.keeper.runtime import syscalls

MAPPED_FILE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-[-x]p [0-9a-f]+ \S+ [1-9]\d* +/")

Range = tuple[int, int]
"""(start, length) in bytes."""


def page_out(pid: int) -> int:
    """Asks the kernel to take back the file pages of our parent, whose pid this must be; bytes of its resident set that
    went. Nothing happens where the kernel has no such call, or the keeper has ended meanwhile.
    """
    if os.getppid() != pid:
        return 0
    before, theirs, ours = _resident(pid), clean_ranges(_smaps(pid)), clean_ranges(_smaps(os.getpid()))
    handle = os.pidfd_open(pid)
    try:
        # This process runs on the same files, and the kernel leaves alone what two have mapped.
        syscalls.unmap_for_now(ours)
        syscalls.page_out(handle, theirs)
    finally:
        os.close(handle)
    return max(0, before - _resident(pid))


def clean_ranges(smaps: str) -> list[Range]:
    """What /proc/PID/smaps shows as read-only mappings of files of which no page was ever written, as a loader writes
    relocations: all of it can be read again from the file. See proc_pid_smaps(5).
    """
    found: list[Range] = []
    mapped: Range | None = None
    for line in smaps.splitlines():
        if (match := MAPPED_FILE.match(line)) is not None:
            start, end = int(match[1], 16), int(match[2], 16)
            mapped = (start, end - start)
        elif line.startswith("Anonymous:"):
            if mapped is not None and line.split()[1] == "0":
                found.append(mapped)
            mapped = None
    return found


def _smaps(pid: int) -> str:
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as file:
        return file.read()


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
