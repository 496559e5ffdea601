"""Giving up power: identities, limits and namespaces of the processes that touch outside bytes.

`ctypes` because Python 3.11 has no prctl, unshare or syncfs; every call is checked.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWIPC, CLONE_NEWNET = 0x00020000, 0x10000000, 0x08000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 1, 4, 38, 24
ID_COUNT = 65536

_libc = ctypes.CDLL(None, use_errno=True)


def drop_to(uid: int, parent: int, *, memory_bytes: int, file_bytes: int, files: int) -> None:
    """Become `uid` for good: no groups, no capabilities, no new privileges, and die with `parent`."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _no_way_back(parent)
    bound(memory_bytes=memory_bytes, file_bytes=file_bytes, files=files, processes=32)


def own_user_namespace(ready: Callable[[], None], parent: int) -> None:
    """Enter fresh namespaces; `ready` returns when the id maps are written. Ends as their root, capable only there."""
    _checked(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC), "unshare")
    ready()
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _no_way_back(parent)


def write_id_maps(pid: int, base: int) -> None:
    """Map ids 0 to 65535 of the namespace that `pid` has just made to the shifted range."""
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {base} {ID_COUNT}\n")


def bound(*, memory_bytes: int, file_bytes: int, files: int, processes: int) -> None:
    """Lower this process's limits; `memory_bytes` is what it may take beyond what it has mapped now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_NOFILE, files)
    _lower(resource.RLIMIT_NPROC, processes)
    _lower(resource.RLIMIT_CORE, 0)


def keep_capabilities(kept: tuple[int, ...]) -> None:
    """Drop every capability but `kept` from all sets, the bounding one too: nothing brings one back."""
    for number in range(64):
        if number not in kept:
            _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # EINVAL above the kernel's last one
    mask = sum(1 << number for number in kept)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable, twice
    _checked(_libc.capset(header, data), "capset")


def close_all_but(kept: set[int]) -> None:
    """Close every other handle, the standard ones included: nothing of the parent's stays open."""
    first = 0
    for handle in sorted(kept):
        if first < handle:  # CPython 3.11 takes an empty range that begins at 0 for all handles there are
            os.closerange(first, handle)
        first = handle + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def fork(body: Callable[[], int]) -> int:
    """Run `body` in a child that can never return into the caller's code. Returns the child's pid."""
    pid = os.fork()
    if pid == 0:
        _run_and_leave(body)
    return pid


def _run_and_leave(body: Callable[[], int]) -> NoReturn:
    status = 70
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = body()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def sync_filesystem(path: Path) -> None:
    """Everything written to the file system that holds `path` is durable afterwards (syncfs)."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _checked(_libc.syncfs(handle), "syncfs")
    finally:
        os.close(handle)


def _no_way_back(parent: int) -> None:
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    _checked(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")
    # Changing ids clears it, so it is set last; a parent that died before that is seen by the changed parent id.
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(70)


def _lower(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))


def _checked(result: int, name: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
