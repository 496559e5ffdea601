"""One app's revision: its name, and every file of its directory. Pure but for looking at the layers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_daemon import slots
from edge_daemon.layout import Layout
from edge_daemon.prepare import oci
from edge_daemon.prepare.addresses import hosts_file, service_addresses, subnet
from edge_daemon.prepare.host import Host, device_numbers
from edge_daemon.prepare.manifest import ImageConfig, Layer
from edge_daemon.prepare.mounts import Sources, mounts
from edge_daemon.prepare.rootfs import MergedRoot
from edge_daemon.prepare.users import Identity, resolve_user
from edge_daemon.sealed import (
    REVISION_SCHEMA,
    LimitValues,
    ProbeValues,
    Revision,
    SealedHooks,
    SealedService,
)
from fleet_protocol.documents.release import Image, Limits, Release, Service
from fleet_protocol.wire.errors import RoadsteadError
from fleet_protocol.wire.strict_json import dumps

GENERATOR = 3
"""Raised whenever the same inputs would give other files: it is part of a revision's name."""


@dataclass(frozen=True, slots=True)
class ReadyImage:
    """A service's image with all its layers in the store."""

    platform: str
    image: Image
    config: ImageConfig
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class ReadyApp:
    """Everything that decides what of one app runs here."""

    release: Release
    release_sha256: str
    values: Mapping[str, bytes]
    images: Mapping[str, ReadyImage]  # by service
    number: int  # of its network
    slot: str = slots.A

    def unit(self, service: str) -> str:
        """What one of its services is called on the host."""
        return slots.unit(service, self.slot)


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file of a revision; `owner` is an id of the host."""

    data: bytes
    mode: int = 0o600
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """Where and on what the revision will run."""

    layout: Layout
    host: Host
    uid_base: int
    cgroup_parent: str


def revision_name(app: ReadyApp, site: Site) -> str:
    """SHA-256 of everything that decides what runs: the same inputs, the same name, and the app is left untouched."""
    services = app.release.services
    inputs = {
        "generator": GENERATOR,
        "release": app.release_sha256,
        "values": {key: hashlib.sha256(value).hexdigest() for key, value in app.values.items()},
        "images": {name: [r.platform, r.image.manifest] for name, r in app.images.items()},
        "number": app.number,
        "unified_cgroup": site.host.unified_cgroup,
        "open_files": [min(s.limits.nofile, site.host.most_open_files) for s in services],
        "name_servers": site.host.name_servers,
        "block_device": site.host.block_device if any(oci.limits_disk(s.limits) for s in services) else None,
        "init": site.host.init if any(s.init for s in services) else "",
        "devices": {path: device_numbers(path) for s in services for path in s.privileges.devices},
        "uid_base": site.uid_base,
        "cgroup_parent": site.cgroup_parent,
        "state": str(site.layout.state),
        "run": str(site.layout.run),
    }
    digest = hashlib.sha256(dumps(inputs)).hexdigest()
    return slots.named(digest, app.slot) if app.release.strategy == "start-first" else digest


def build(app: ReadyApp, site: Site) -> tuple[str, dict[str, SealedFile]]:
    """(name, relative path -> file), revision.json included."""
    name = revision_name(app, site)
    folder = site.layout.revision(app.release.app, name)
    addresses = service_addresses(app.release, app.number, app.slot)
    files: dict[str, SealedFile] = {}
    services: list[SealedService] = []
    for service in app.release.services:
        try:
            made = _service_files(service, app, site, folder, addresses)
        except RoadsteadError as error:
            error.element = f"{app.release.app}.{service.name}"
            raise
        files |= made
        sealed = _sealed(service, app, addresses)
        sealed["runtime_sha256"] = oci.fixed_sha256(made[f"services/{app.unit(service.name)}/config.json"].data, name)
        services.append(sealed)
    revision: Revision = {
        "schema": REVISION_SCHEMA,
        "app": app.release.app,
        "release": app.release.version,
        "release_sha256": app.release_sha256,
        "revision": name,
        "subnet": subnet(app.number),
        "start_order": [app.unit(name) for name in app.release.start_order()],
        "services": services,
        "health_window_s": app.release.health.window_s,
        "max_restarts": app.release.health.max_restarts,
        "group": list(app.release.group),
        "files": {path: hashlib.sha256(file.data).hexdigest() for path, file in files.items()},
    }
    if app.release.strategy != "recreate":
        revision["strategy"] = app.release.strategy
    if app.release.total is not None:
        revision["total"] = app.release.total.model_dump(mode="json", exclude_none=True)  # type: ignore[typeddict-item]
    if (slope := app.release.health.memory_slope_percent_per_h) is not None:
        revision["memory_slope_percent_per_h"] = slope
    files["revision.json"] = SealedFile(dumps(revision))
    return name, files


def _service_files(
    service: Service, app: ReadyApp, site: Site, folder: Path, addresses: dict[str, str]
) -> dict[str, SealedFile]:
    ready = app.images[service.name]
    root = MergedRoot(tuple(site.layout.layers / layer.diff_id for layer in ready.layers))
    user = resolve_user(service.user if service.user is not None else ready.config.user, root, service.name)
    here = Path("services") / app.unit(service.name)
    out = {f"{here}/hosts": SealedFile(hosts_file(app.release, addresses), 0o644)}
    placed: list[tuple[str, Path]] = []
    variables: dict[str, str] = {}
    for key, declared in sorted(app.release.config.items()):
        if declared.service != service.name or key not in app.values:
            continue
        if declared.env is not None:
            variables[declared.env] = app.values[key].decode()
        elif declared.file is not None:
            path = f"{here}/files/{len(placed)}"
            # Readable by the container's user alone: the value may be a secret (row 55).
            out[path] = SealedFile(app.values[key], 0o400, site.uid_base + user.uid)
            placed.append((declared.file, folder / path))
    resolv_conf = (
        Path(site.host.name_servers) if site.host.name_servers and service.privileges.network != "none" else None
    )
    if resolv_conf is None:
        out[f"{here}/resolv.conf"] = SealedFile(b"", 0o644)
        resolv_conf = folder / here / "resolv.conf"
    container = site.layout.container(app.release.app, app.unit(service.name))
    sources = Sources(
        sys=container / "sys",
        hosts=folder / here / "hosts",
        resolv_conf=resolv_conf,
        volumes=site.layout.volumes / app.release.app,
        files=tuple(placed),
        init=site.host.init,
    )
    mounted = mounts(service, sources)
    _check_targets(mounted, root, {target for target, _ in placed})
    out[f"{here}/config.json"] = SealedFile(
        dumps(_config(service, app, ready, site, user=user, variables=variables, mounted=mounted))
    )
    return out


def _config(
    service: Service,
    app: ReadyApp,
    ready: ReadyImage,
    site: Site,
    *,
    user: Identity,
    variables: dict[str, str],
    mounted: list[dict[str, Any]],
) -> dict[str, Any]:
    unit = app.unit(service.name)
    container = f"{app.release.app}.{unit}"
    places = oci.Places(
        rootfs=str(site.layout.container(app.release.app, unit) / "rootfs"),
        netns=str(site.layout.netns / container),
        cgroup=f"{site.cgroup_parent.rstrip('/')}/apps/{app.release.app}/{unit}",
    )
    devices = tuple(oci.Granted(path, *device_numbers(path)) for path in service.privileges.devices)
    return oci.config(
        service, ready.platform, ready.config, user, variables, mounted, devices, places, site.host, site.uid_base
    )


def _check_targets(mounted: list[dict[str, Any]], root: MergedRoot, files: set[str]) -> None:
    single = files | {"/etc/hosts", "/etc/resolv.conf"}
    over: list[str] = []
    for mount in mounted:
        target = str(mount["destination"])
        # Below another mount the image's own tree is out of sight: nothing there can steer anything.
        if not any(target.startswith(f"{top}/") for top in over):
            root.check_target(target, directory=target not in single, element="")
        if target not in single and mount["type"] != "bind":
            over.append(target)


def _sealed(service: Service, app: ReadyApp, addresses: dict[str, str]) -> SealedService:
    ready = app.images[service.name]
    out: SealedService = {
        "name": app.unit(service.name),
        "image": ready.image.manifest,
        "layers": [layer.diff_id for layer in ready.layers],
        "network": service.privileges.network,
        "address": addresses.get(service.name, ""),
        "ports": [
            {
                "host_ip": p.host_ip,
                "host_port": p.host_port,
                "container_port": p.container_port,
                "protocol": p.protocol,
            }
            for p in service.ports
        ],
        "volumes": [
            {"name": v.name, "target": v.target, "read_only": v.read_only, "quota_bytes": v.quota_bytes}
            for v in service.volumes
        ],
        "depends_on": {app.unit(name): condition for name, condition in service.depends_on.items()},
        "restart_policy": service.restart.policy,
        "stop_signal": service.stop_signal,
        "stop_grace_s": service.stop_grace_s,
        "limits": _limits(service.limits),
    }
    if service.restart.max_attempts is not None:
        out["restart_max"] = service.restart.max_attempts
    if service.probe is not None:
        probe: ProbeValues = service.probe.model_dump(mode="json", exclude_none=True)  # type: ignore[assignment]
        out["probe"] = probe
    if service.hooks is not None:
        hooks: SealedHooks = service.hooks.model_dump(mode="json", exclude_none=True)  # type: ignore[assignment]
        out["hooks"] = hooks
    if service.readiness is not None:
        asked: ProbeValues = service.readiness.model_dump(mode="json", exclude_none=True)  # type: ignore[assignment]
        out["readiness"] = asked
    return out


def _limits(limits: Limits) -> LimitValues:
    values: LimitValues = limits.model_dump(mode="json", exclude_none=True)  # type: ignore[assignment]
    return values
