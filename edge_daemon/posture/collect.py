"""Looks at a host and writes down what it sees. Decides nothing; changes nothing. Standard library only.

`root` is "/" on a host; a folder that holds the same files stands for another host in tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_daemon.posture.facts import CgroupMode, Facts, Program

PROGRAM_FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin", "usr/local/sbin", "usr/local/bin")
CNI_FOLDERS = ("usr/lib/cni", "opt/cni/bin", "usr/libexec/cni")
BOOT_LINES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")
VERSION_S = 5.0
MAX_READ = 64 * 1024

Ask = Callable[[Path], str]


def collect(
    state: Path, *, root: Path = Path("/"), ask: Ask | None = None, now: Callable[[], float] = time.time
) -> Facts:
    """One look. `ask` runs a program with --version and returns what it says."""
    mounts = _cgroup_mounts(_read(root / "proc/self/mountinfo"))
    mode = cgroup_mode(mounts)
    enabled, disabled = _known_controllers(_read(root / "proc/cgroups"))
    boot_file = next((f for f in BOOT_LINES if (root / f).is_file()), "")
    model = _read(root / "proc/device-tree/model").rstrip("\0\n")
    cni = next((f for f in CNI_FOLDERS if (root / f).is_dir()), "")
    meminfo = _read(root / "proc/meminfo")
    namespaces = _read(root / "proc/sys/user/max_user_namespaces").strip()
    system = os.uname()
    return Facts(
        kernel=_read(root / "proc/sys/kernel/osrelease").strip() or system.release,
        machine=system.machine,
        model=model,
        command_line=_read(root / "proc/cmdline").strip(),
        boot_line_file=f"/{boot_file}" if boot_file and "Raspberry Pi" in model else "",
        boot_line=_read(root / boot_file).strip() if boot_file else "",
        is_root=os.geteuid() == 0,
        cgroup_mode=mode,
        controllers=_controllers(mode, mounts, root, enabled),
        disabled_controllers=disabled,
        swap_accounting=_swap_accounting(mode, mounts, root),
        swap_bytes=_kilobytes(meminfo, "SwapTotal"),
        memory_bytes=_kilobytes(meminfo, "MemTotal"),
        max_user_namespaces=int(namespaces) if namespaces.isdecimal() else None,
        overlayfs=_file_system(root, "overlay"),
        loop_devices=(root / "dev/loop-control").exists() or _has_module(root, "loop"),
        seccomp_filter="errno" in _read(root / "proc/sys/kernel/seccomp/actions_avail").split(),
        network_namespaces=(root / "proc/self/ns/net").exists(),
        programs=_programs(root, ask or _say_version),
        cni_folder=f"/{cni}" if cni else "",
        cni_plugins=frozenset(os.listdir(root / cni)) if cni else frozenset(),
        now=int(now()),
        state_folder=str(state),
        free_bytes=_free(state),
    )


def cgroup_mode(mounts: Mapping[str, frozenset[str] | None]) -> CgroupMode:
    """From mount points: None is a v2 hierarchy, a set is a v1 hierarchy with these controllers."""
    has_v2 = any(controllers is None for controllers in mounts.values())
    has_v1 = any(controllers for controllers in mounts.values() if controllers is not None)
    if has_v1:
        return CgroupMode.HYBRID if has_v2 else CgroupMode.V1
    return CgroupMode.V2 if has_v2 else CgroupMode.NONE


def _cgroup_mounts(mountinfo: str) -> dict[str, frozenset[str] | None]:
    """Mount point -> v1 controllers, or None for v2 (proc(5), /proc/PID/mountinfo)."""
    mounts: dict[str, frozenset[str] | None] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            mounts[fields[4]] = None
        elif kind[0] == "cgroup":
            options = kind[2].split(",")
            named = any(option.startswith("name=") for option in options)
            mounts[fields[4]] = frozenset() if named else frozenset(options) - {"rw", "ro", "xattr", "noprefix"}
    return mounts


def _known_controllers(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """(enabled, switched off at boot) from /proc/cgroups."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    good = [row for row in rows if len(row) == 4]
    on = frozenset(row[0] for row in good if row[3] == "1")
    return on, frozenset(row[0] for row in good) - on


def _controllers(
    mode: CgroupMode, mounts: Mapping[str, frozenset[str] | None], root: Path, enabled: frozenset[str]
) -> frozenset[str]:
    if mode is CgroupMode.V2:
        point = next(point for point, controllers in mounts.items() if controllers is None)
        return frozenset(_read(_below(root, point) / "cgroup.controllers").split())
    mounted = [controllers for controllers in mounts.values() if controllers]
    return frozenset[str]().union(*mounted) & enabled if mounted else frozenset()


def _swap_accounting(mode: CgroupMode, mounts: Mapping[str, frozenset[str] | None], root: Path) -> bool | None:
    if mode is CgroupMode.V2:
        point = _below(root, next(point for point, controllers in mounts.items() if controllers is None))
        try:
            children = [entry for entry in os.scandir(point) if entry.is_dir()]
        except OSError:
            return None
        # The root group has no such file; a child has it where the memory controller is handed down.
        if any((Path(child.path) / "memory.max").exists() for child in children):
            return any((Path(child.path) / "memory.swap.max").exists() for child in children)
        return None
    for place, controllers in mounts.items():
        if controllers and "memory" in controllers:
            return (_below(root, place) / "memory.memsw.limit_in_bytes").exists()
    return None


def _file_system(root: Path, name: str) -> bool:
    """Built in or loaded, or a module that the kernel loads when it is asked."""
    return name in _read(root / "proc/filesystems").split() or _has_module(root, name)


def _has_module(root: Path, name: str) -> bool:
    release = _read(root / "proc/sys/kernel/osrelease").strip()
    modules = root / "lib/modules" / release
    return any(f"/{name}.ko" in _read(modules / file, 4 << 20) for file in ("modules.dep", "modules.builtin"))


def _programs(root: Path, ask: Ask) -> tuple[tuple[str, Program], ...]:
    found = []
    for name in ("runc", "crun", "conmon", "nft", "mkfs.ext4"):
        place = next((f"{folder}/{name}" for folder in PROGRAM_FOLDERS if os.access(root / folder / name, os.X_OK)), "")
        if not place:
            continue
        said = ask(root / place)
        version = re.search(r"(?:version |v)(\d[\w.+~-]*)", said)
        # runc of Debian names its package's revision as its commit
        package = re.search(r"^commit: (\d[\w.+~-]*\+deb\d+u\d+)$", said, re.MULTILINE)
        found.append((name, Program(f"/{place}", version[1] if version else "", package[1] if package else "")))
    return tuple(found)


def _say_version(program: Path) -> str:
    try:
        done = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=VERSION_S, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:MAX_READ]


def _free(state: Path) -> int:
    place = state
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def _kilobytes(meminfo: str, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _below(root: Path, absolute: str) -> Path:
    return root / absolute.lstrip("/")


def _read(file: Path, at_most: int = MAX_READ) -> str:
    """The file's text, or "" where there is none or it may not be read."""
    try:
        with file.open("rb") as handle:
            return handle.read(at_most).decode("utf-8", "replace")
    except OSError:
        return ""
