"""The system calls that Python 3.11 has no name for. Imported by the starter alone (ctypes costs memory)."""

from __future__ import annotations

import ctypes
import os

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 1, 2, 4, 8, 4096
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNET = 0x40000000
SYS_PROCESS_MADVISE, MOST_VECTORS = 440, 1024  # newer than the tables, so the same number on every architecture
MADV_DONTNEED, MADV_PAGEOUT = 4, 21

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """The system call mount."""
    _checked(
        _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode() or None),
        target,
    )


def umount(target: str, flags: int) -> None:
    """The system call umount2."""
    _checked(_libc.umount2(os.fsencode(target), flags), target)


def unshare_network() -> None:
    """Give this thread an empty network namespace."""
    _checked(_libc.unshare(CLONE_NEWNET), "network namespace")


def enter_network(handle: int) -> None:
    """Put this thread into the network namespace of an open handle."""
    _checked(_libc.setns(handle, CLONE_NEWNET), "network namespace")


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def page_out(handle: int, ranges: list[tuple[int, int]]) -> None:
    """The system call process_madvise with MADV_PAGEOUT, for the process of a pidfd. Advice: a kernel that does not
    take it is not an error.
    """
    for at in range(0, len(ranges), MOST_VECTORS):
        some = ranges[at : at + MOST_VECTORS]
        vectors = (_Vector * len(some))(*(_Vector(start, length) for start, length in some))
        _libc.syscall(SYS_PROCESS_MADVISE, handle, vectors, ctypes.c_size_t(len(some)), MADV_PAGEOUT, 0)


def unmap_for_now(ranges: list[tuple[int, int]]) -> None:
    """The system call madvise with MADV_DONTNEED: these pages of ours come back from their files when next touched."""
    for start, length in ranges:
        _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), MADV_DONTNEED)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
