"""What of this host goes into a container's configuration. Read once; all of it is part of a revision's name."""

from __future__ import annotations

import os
import platform
import resource
import stat
from dataclasses import dataclass
from pathlib import Path

from edge_daemon.prepare.errors import PlanError, SealError

_MACHINES = {
    "x86_64": ("linux/amd64",),
    "aarch64": ("linux/arm64",),
    "armv7l": ("linux/arm/v7", "linux/arm/v6"),
    "armv6l": ("linux/arm/v6",),
    "i686": ("linux/386",),
    "riscv64": ("linux/riscv64",),
}
_INITS = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/tini-static", "/usr/bin/docker-init")


@dataclass(frozen=True, slots=True)
class Host:
    """Facts, as values."""

    platforms: tuple[str, ...]  # that it runs, best first
    unified_cgroup: bool
    most_open_files: int
    cpus: int
    name_servers: str  # resolv.conf to bind, or ""
    block_device: tuple[int, int] | None  # the disk that holds the state directory
    init: str


def read_host(state: Path) -> Host:
    """The facts of this machine."""
    return Host(
        platforms=platforms_of(platform.machine(), _pointer_bits()),
        unified_cgroup=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        most_open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        cpus=os.cpu_count() or 1,
        name_servers=_name_servers(),
        block_device=_disk_of(state),
        init=next((path for path in _INITS if os.access(path, os.X_OK)), ""),
    )


def platforms_of(machine: str, bits: int) -> tuple[str, ...]:
    """What such a host runs natively: the seccomp profile lists one architecture, so nothing else would start."""
    if machine == "aarch64" and bits == 32:  # Raspberry Pi OS: a 64-bit kernel under a 32-bit system
        machine = "armv7l"
    known = _MACHINES.get(machine)
    if known is None:
        raise PlanError("this kind of machine is not supported", element=machine)
    return known


def device_numbers(path: str) -> tuple[str, int, int]:
    """Kind (`c` or `b`), major and minor of a granted device. Raises SealError if it is no device."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise SealError(f"this host has no such device: {error.strerror}", element=path) from error
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise SealError("is not a device", element=path)
    return ("c" if stat.S_ISCHR(found.st_mode) else "b"), os.major(found.st_rdev), os.minor(found.st_rdev)


def _pointer_bits() -> int:
    return 64 if platform.architecture()[0] == "64bit" else 32


def _name_servers() -> str:
    """A resolv.conf that works from another network namespace; a stub on the loopback interface does not."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
        if any(not server.startswith(("127.", "::1")) for server in servers):
            return path
    return ""


def _disk_of(path: Path) -> tuple[int, int] | None:
    """Major and minor of the whole disk: kernels take limits for disks, not for partitions."""
    number = path.stat().st_dev
    major, minor = os.major(number), os.minor(number)
    if major == 0:
        return None  # tmpfs, overlay, btrfs: no disk to name
    node = Path(f"/sys/dev/block/{major}:{minor}").resolve()
    if (node / "partition").exists():
        node = node.parent
    try:
        text = (node / "dev").read_text().strip().split(":")
        return int(text[0]), int(text[1])
    except (OSError, ValueError, IndexError):
        return None
