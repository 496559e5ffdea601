"""The OCI runtime configuration of one container, from the signed release. Pure.

The image gives entrypoint, command, variables, user and working directory where the release leaves them open, and
nothing else: no hook, device, mount, label or capability ever comes from it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from edge_daemon.prepare import seccomp
from edge_daemon.prepare.errors import SealError
from edge_daemon.prepare.host import Host
from edge_daemon.prepare.manifest import ImageConfig
from edge_daemon.prepare.mounts import INIT_TARGET
from edge_daemon.prepare.users import Identity
from fleet_protocol.documents.release import Limits, Service
from fleet_protocol.wire.strict_json import dumps

ID_COUNT = 65536
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OOM_SCORE_ADJ = 300  # the kernel takes a container before the daemon
PERIOD_US = 100_000

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/dev/block",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Granted(NamedTuple):
    """A device of the host, allowed by both release and policy."""

    path: str
    kind: str
    major: int
    minor: int


class Places(NamedTuple):
    """Absolute paths of the host."""

    rootfs: str
    netns: str
    cgroup: str


def config(
    service: Service,
    platform: str,
    image: ImageConfig,
    user: Identity,
    variables: dict[str, str],
    mounts: list[dict[str, Any]],
    devices: tuple[Granted, ...],
    places: Places,
    host: Host,
    uid_base: int,
) -> dict[str, Any]:
    """config.json as a value. Raises SealError for a working directory or command that cannot be."""
    privileges = service.privileges
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups), "umask": 0o022},
            "args": arguments(service, image),
            "env": environment(service, image, variables),
            "cwd": working_dir(service, image),
            "capabilities": _capabilities(privileges.capabilities, user),
            "rlimits": _rlimits(service.limits, host),
            "noNewPrivileges": True,
            "oomScoreAdj": OOM_SCORE_ADJ,
        },
        "root": {"path": places.rootfs, "readonly": not privileges.writable_root},
        "hostname": service.hostname or service.name,
        "mounts": mounts,
        "linux": {
            "namespaces": _namespaces(privileges.network, places.netns),
            "uidMappings": [{"containerID": 0, "hostID": uid_base, "size": ID_COUNT}],
            "gidMappings": [{"containerID": 0, "hostID": uid_base, "size": ID_COUNT}],
            "devices": [
                {
                    "path": d.path,
                    "type": d.kind,
                    "major": d.major,
                    "minor": d.minor,
                    "fileMode": 0o660,
                    "uid": 0,
                    "gid": 0,
                }
                for d in devices
            ],
            "cgroupsPath": places.cgroup,
            "resources": resources(service.limits, devices, host),
            "seccomp": seccomp.profile(platform, privileges.capabilities),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


def fixed_sha256(sealed: bytes, revision: str) -> str:
    """Hash of what only a new container can change: two revisions that agree in it differ by live limits at most.

    Limits on open files and allowed devices stay in it: the kernel takes them when a process or group is made. The
    name of the revision's own directory comes out of it, for the files there have hashes of their own.
    """
    value = json.loads(sealed)
    value["linux"]["resources"] = {"devices": value["linux"]["resources"]["devices"]}
    return hashlib.sha256(dumps(value).replace(revision.encode(), b"")).hexdigest()


def arguments(service: Service, image: ImageConfig) -> list[str]:
    """Docker's rule: a new entrypoint also puts the image's command aside."""
    entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
    command: tuple[str, ...] = () if service.entrypoint is not None else image.command
    args = [*entrypoint, *(command if service.command is None else service.command)]
    if not args or not args[0]:
        raise SealError("neither the release nor the image says what to run", element=service.name)
    return [INIT_TARGET, "--", *args] if service.init else args


def environment(service: Service, image: ImageConfig, variables: dict[str, str]) -> list[str]:
    """Image, then release, then configuration; later ones win."""
    merged = {"PATH": DEFAULT_PATH, **dict(image.environment), **service.environment, **variables}
    return [f"{name}={value}" for name, value in merged.items()]


def working_dir(service: Service, image: ImageConfig) -> str:
    """Absolute, in plain components, and not below /proc, where names of open handles lead out (CVE-2024-21626)."""
    path = service.working_dir or image.working_dir or "/"
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if not path.startswith("/") or ".." in parts or (parts and parts[0] in ("proc", "sys", "dev")):
        raise SealError(f"working directory {path[:80]!r} is not acceptable", element=service.name)
    return "/" + "/".join(parts)


def resources(limits: Limits, devices: tuple[Granted, ...], host: Host) -> dict[str, Any]:
    """Limits for either kind of cgroup. Swap equals memory: the sum is the limit, so there is no swap."""
    cpu: dict[str, Any] = {"quota": limits.cpu_millis * PERIOD_US // 1000, "period": PERIOD_US}
    if limits.cpuset is not None:
        if max((int(n) for n in re.findall(r"[0-9]+", limits.cpuset)), default=host.cpus) >= host.cpus:
            raise SealError(f"wants the cores {limits.cpuset}, this host has 0-{host.cpus - 1}")
        cpu["cpus"] = limits.cpuset
    out: dict[str, Any] = {
        "memory": {"limit": limits.memory_bytes, "swap": limits.memory_bytes},
        "cpu": cpu,
        "pids": {"limit": limits.pids},
        "devices": [
            {"allow": False, "access": "rwm"},
            *({"allow": True, "type": d.kind, "major": d.major, "minor": d.minor, "access": "rw"} for d in devices),
        ],
    }
    if host.unified_cgroup:
        unified = {"memory.oom.group": "1", "cpu.weight": str(limits.cpu_weight)}
        if limits.memory_high_bytes is not None:
            unified["memory.high"] = str(limits.memory_high_bytes)
        out["unified"] = unified
    else:
        cpu["shares"] = max(2, min(262_144, limits.cpu_weight * 1024 // 100))
    if host.block_device is not None and (rates := _block_io(limits, host.block_device)):
        out["blockIO"] = rates
    return out


def _block_io(limits: Limits, disk: tuple[int, int]) -> dict[str, Any]:
    asked = {
        "throttleReadBpsDevice": limits.io_read_bps,
        "throttleWriteBpsDevice": limits.io_write_bps,
        "throttleReadIOPSDevice": limits.io_read_iops,
        "throttleWriteIOPSDevice": limits.io_write_iops,
    }
    return {key: [{"major": disk[0], "minor": disk[1], "rate": rate}] for key, rate in asked.items() if rate}


def limits_disk(limits: Limits) -> bool:
    """Whether it asks for a rate of any kind."""
    return any((limits.io_read_bps, limits.io_write_bps, limits.io_read_iops, limits.io_write_iops))


def _capabilities(granted: tuple[str, ...], user: Identity) -> dict[str, list[str]]:
    """All five sets are written out: a set that is left out is the runtime's to choose."""
    listed = sorted(granted)
    ambient = listed if user.uid != 0 else []  # only so does a program without root's id keep them over exec
    return {
        "bounding": listed,
        "effective": listed,
        "permitted": listed,
        "inheritable": ambient,
        "ambient": ambient,
    }


def _rlimits(limits: Limits, host: Host) -> list[dict[str, Any]]:
    files = min(limits.nofile, host.most_open_files)  # a runtime without CAP_SYS_RESOURCE cannot go above its own
    return [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NOFILE", "soft": files, "hard": files},
    ]


def _namespaces(network: str, netns: str) -> list[dict[str, str]]:
    out = [{"type": kind} for kind in ("user", "pid", "ipc", "uts", "mount", "cgroup")]
    if network != "host":
        out.append({"type": "network", "path": netns})
    return out
