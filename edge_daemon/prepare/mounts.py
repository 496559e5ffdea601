"""The mounts of one container. Pure. Nothing of the host is visible but what is named here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from edge_daemon.prepare.errors import SealError
from fleet_protocol.documents.release import Service

MIB = 1024 * 1024
_BIND_FILE = ("bind", "ro", "nosuid", "nodev", "noexec", "rprivate")
RESERVED = ("/", "/dev", "/proc", "/sys", "/etc/hosts", "/etc/resolv.conf")
INIT_TARGET = "/dev/.init"


class Sources(NamedTuple):
    """Where on the host the bind mounts come from."""

    sys: Path
    hosts: Path
    resolv_conf: Path
    volumes: Path  # of the app; the keeper makes each volume before the first start
    files: tuple[tuple[str, Path], ...]  # target in the container, sealed file
    init: str


def mounts(service: Service, sources: Sources) -> list[dict[str, Any]]:
    """OCI mounts in order. Raises SealError for targets that are ours, or are used twice."""
    own = [
        *(_tmpfs(t.target, t.size_bytes) for t in service.tmpfs),
        *(_volume(sources.volumes / v.name, v.target, read_only=v.read_only) for v in service.volumes),
        *(_file(source, target) for target, source in sources.files),
    ]
    _check(service, [str(m["destination"]) for m in own])
    taken = {m["destination"] for m in own}
    scratch = [] if service.privileges.writable_root else [("/tmp", 16 * MIB), ("/run", 4 * MIB)]  # noqa: S108
    base: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        # For tmpfs a size of 0 means no limit, so there is always a little.
        {
            "destination": "/dev/shm",  # noqa: S108
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={max(4096, service.shm_bytes)}"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        # A sysfs of the container's own network namespace, mounted by the keeper; it shows no cgroups.
        {
            "destination": "/sys",
            "type": "bind",
            "source": str(sources.sys),
            "options": ["bind", "ro", "nosuid", "noexec", "nodev", "rprivate"],
        },
        *(_tmpfs(target, size) for target, size in scratch if target not in taken),
        _file(sources.hosts, "/etc/hosts"),
        _file(sources.resolv_conf, "/etc/resolv.conf"),
    ]
    if service.init:
        if not sources.init:
            raise SealError(
                "wants an init process, and this host has none (catatonit or tini-static)", element=service.name
            )
        init = ["bind", "ro", "nosuid", "nodev", "rprivate"]
        base.append({"destination": INIT_TARGET, "type": "bind", "source": sources.init, "options": init})
    return base + sorted(own, key=lambda m: str(m["destination"]).count("/"))


def _check(service: Service, targets: list[str]) -> None:
    if len(set(targets)) != len(targets):
        raise SealError("two mounts have the same target", element=service.name)
    for target in targets:
        parts = [p for p in target.split("/") if p]
        inside = any(target.startswith(f"{top}/") for top in ("/proc", "/sys", "/dev"))
        if "." in parts or ".." in parts or target in RESERVED or inside or "/" + "/".join(parts) != target:
            raise SealError(f"{target} cannot be the target of a mount", element=service.name)


def _tmpfs(target: str, size: int) -> dict[str, Any]:
    options = ["nosuid", "nodev", "noexec", "mode=1777", f"size={size}"]
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _volume(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    options = ["bind", "ro" if read_only else "rw", "nosuid", "nodev", "rprivate"]
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


def _file(source: Path, target: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": str(source), "options": list(_BIND_FILE)}
