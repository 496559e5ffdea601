"""app.yaml and its compose file compiled into a release. Pure: files have been read, images are named by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from fleet_protocol.documents.release import Image, Release, Service
from fleet_protocol.wire import bounds, strict_json
from fleet_release.compile_config import declare_config
from fleet_release.compile_health import check_slope
from fleet_release.compile_limits import complete_limits, maximum_limits
from fleet_release.compose.model import AddedDefault, ComposeProject, ComposeService
from fleet_release.findings import Findings, Mark, did_you_mean
from fleet_release.manifest.app_file import AppFile, Grant
from fleet_release.values import parse_platform, show_size
from fleet_release.yaml_tree import Node, locate

TMPFS_BYTES = 16 << 20
VOLUME_BYTES = 64 << 20
STAND_IN = Image(manifest="sha256:" + "0" * 64, manifest_size=1, download_bytes=0, unpacked_bytes=0)
USUAL_PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


@dataclass(frozen=True, slots=True)
class DraftService:
    """One service without its images."""

    name: str
    image: str
    image_of: dict[str, str]  # platform -> another reference
    fields: dict[str, Any]

    def reference(self, platform: str) -> str:
        """What is to be resolved for `platform`."""
        return self.image_of.get(platform, self.image)


@dataclass(frozen=True, slots=True)
class Draft:
    """A release that only lacks its images and its counter."""

    app: str
    version: str
    services: tuple[DraftService, ...]
    config: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)  # empty: none
    group: tuple[str, ...] = ()
    strategy: str = "recreate"
    shared_volumes: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()  # empty: what all images offer of the usual ones
    added: tuple[AddedDefault, ...] = ()

    def release(self, images: Mapping[tuple[str, str], Image], counter: int = 1) -> Release:
        """`images`: (service, platform) -> image. Raises DocumentInvalidError when the whole does not hang together."""
        services = []
        for service in self.services:
            mine = {p: i.model_dump(mode="json") for (name, p), i in images.items() if name == service.name}
            services.append({**service.fields, "name": service.name, "images": mine})
        return Release.from_value(
            {
                "app": self.app,
                "version": self.version,
                "release_counter": counter,
                "services": services,
                "config": self.config,
                "health": self.health,
                "group": list(self.group),
                **({"strategy": self.strategy} if self.strategy != "recreate" else {}),
                **({"shared_volumes": list(self.shared_volumes)} if self.shared_volumes else {}),
                **({"total": self.total} if self.total else {}),
            }
        )


def compile_app(app: AppFile, tree: Node, project: ComposeProject, findings: Findings) -> Draft:
    """`tree` is app.yaml's own, for places. Every fault is in `findings`; with one, the draft is of no use."""
    _check_names(app, tree, project, findings)
    added: list[AddedDefault] = []
    services = []
    finished = {
        o for s in project.services.values() for o, c in s.fields.get("depends_on", {}).items() if c == "completed"
    }
    for service in project.services.values():
        fields = _fields(app, tree, service, findings, added, runs_once=service.name in finished)
        image_of = _images(app, tree, service, findings)
        _validate(service, fields, app, tree, findings)
        services.append(DraftService(service.name, service.image or "", image_of, fields))
    memory = {one.name: one.fields["limits"].get("memory_bytes", 0) for one in services}
    check_slope(app, tree, {name: limit for name, limit in memory.items() if limit}, findings)
    config = declare_config(app, tree, project, findings)
    if len(project.services) > bounds.MAX_SERVICES:
        findings.add(
            "E0414", project.mark, f"{len(project.services)} services, an app has at most {bounds.MAX_SERVICES}"
        )
    return Draft(
        app.name,
        app.version,
        tuple(services),
        config,
        _health(app),
        app.total.values(),
        tuple(app.group),
        app.strategy,
        tuple(app.shared_volumes),
        tuple(dict.fromkeys(app.platforms or ())),
        tuple(added),
    )


def _fields(
    app: AppFile,
    tree: Node,
    service: ComposeService,
    findings: Findings,
    added: list[AddedDefault],
    *,
    runs_once: bool,
) -> dict[str, Any]:
    fields = {k: v for k, v in service.fields.items() if k != "network"}
    added += service.added

    def add(key: str, value: str, why: str) -> None:
        added.append(AddedDefault(service.name, key, value, why))

    fields["limits"] = complete_limits(app, service, add)
    if service.name in app.maximum:
        place = locate(tree, ("maximum", service.name), key=True)
        fields["maximum"] = maximum_limits(app, service.name, fields["limits"], place, findings)
    if service.name in app.probes:
        fields["probe"] = app.probes[service.name].values()
    if service.name in app.hooks:
        fields["hooks"] = {**fields.get("hooks", {}), **app.hooks[service.name].values()}
    if service.name in app.readiness:
        fields["readiness"] = app.readiness[service.name].values()
    if "restart" not in fields:
        policy = "on-failure" if runs_once else "always"
        fields["restart"] = {"policy": policy}
        add("restart", policy, "default; others wait for it to complete" if runs_once else "default")
    for mount in fields.get("tmpfs", ()):
        if "size_bytes" not in mount:
            mount["size_bytes"] = TMPFS_BYTES
            add(f"tmpfs {mount['target']}", show_size(TMPFS_BYTES), "default size")
    for mount in fields.get("volumes", ()):
        said = app.volumes.get(mount["name"])
        mount["quota_bytes"] = VOLUME_BYTES if said is None else said.quota
        if said is None:
            add(f"volume {mount['name']}", show_size(VOLUME_BYTES), "default quota")
    fields["privileges"] = _privileges(app, service, findings, add)
    network = fields["privileges"]["network"]
    if network == "none":
        _check_reach(app, tree, service.name, findings)
    if network != "app" and fields.get("ports"):
        text = f"ports are published from the app's network; with network_mode: {network} remove them"
        findings.add("E0414", service.marks.get(("ports",), service.mark), text)
    return fields


def _check_reach(app: AppFile, tree: Node, name: str, findings: Findings) -> None:
    """Without a network nothing but a command can ask."""
    for section, probes in (("probes", app.probes), ("readiness", app.readiness)):
        probe = probes.get(name)
        kind = "" if probe is None else "http" if probe.http is not None else "tcp" if probe.tcp is not None else ""
        if kind:
            text = f"{name} has network_mode: none, so nothing can ask it over {kind}"
            findings.add("E0414", locate(tree, (section, name, kind), key=True), text, suggestion="exec")


def _privileges(app: AppFile, service: ComposeService, findings: Findings, add: Any) -> dict[str, Any]:
    """Only what a grant names; what the compose file asks for beyond it is a finding that shows the grant to write."""
    grants = [g for g in app.grants if g.service == service.name]
    capabilities = {_capability(c) for g in grants for c in g.capabilities}
    devices = {d for g in grants for d in g.devices}
    for name, mark in service.capabilities.items():
        if name not in capabilities:
            _ungranted(service, f"capabilities: [{name}]", f"the capability {name}", mark, findings)
    for name, mark in service.devices.items():
        if name not in devices:
            _ungranted(service, f"devices: [{name}]", f"the device {name}", mark, findings)
    network = service.fields.get("network", "app")
    granted_host = any(g.network == "host" for g in grants)
    if network == "host" and not granted_host:
        _ungranted(service, "network: host", "the host's network", service.marks["network",], findings)
    if granted_host and network != "host":
        network = "host"
    return {
        "capabilities": sorted(capabilities),
        "devices": sorted(devices),
        "network": network,
        "writable_root": _writable_root(app, service, grants, findings, add),
        "reason": "; ".join(dict.fromkeys(g.reason for g in grants)),
    }


def _writable_root(app: AppFile, service: ComposeService, grants: list[Grant], findings: Findings, add: Any) -> bool:
    if any(g.writable_root for g in grants):
        return True
    if service.read_only is False:
        mark = service.marks["read_only",]
        _ungranted(service, "writableRoot: true", "a writable root file system", mark, findings)
        return False
    if service.read_only is None:
        said = app.defaults.read_only
        add("read_only", "false" if said is False else "true", "default" if said is None else "default of app.yaml")
        return said is False
    return False


def _ungranted(service: ComposeService, grant: str, what: str, mark: Mark, findings: Findings) -> None:
    hint = f"in app.yaml: grants: [{{service: {service.name}, {grant}, reason: ...}}]"
    findings.add("E0422", mark, f"{service.name} wants {what}, which no grant names", hint=hint)


def _capability(name: str) -> str:
    return name if name.startswith("CAP_") else f"CAP_{name}"


def _images(app: AppFile, tree: Node, service: ComposeService, findings: Findings) -> dict[str, str]:
    out = {}
    for arch, overrides in app.arch.items():
        try:
            platform = parse_platform(arch)
        except ValueError as error:
            findings.add("E0414", locate(tree, ("arch", arch), key=True), str(error))
            continue
        if service.name in overrides:
            out[platform] = overrides[service.name].image
    return out


def _check_names(app: AppFile, tree: Node, project: ComposeProject, findings: Findings) -> None:
    """Every service that app.yaml speaks of exists, each by the place where it is spoken of."""
    spoken: list[tuple[str, tuple[str | int, ...], bool]] = []
    for section in ("limits", "maximum", "probes", "readiness", "hooks"):
        spoken += [(name, (section, name), True) for name in getattr(app, section)]
    spoken += [(name, ("arch", arch, name), True) for arch, overrides in app.arch.items() for name in overrides]
    spoken += [(grant.service, ("grants", i, "service"), False) for i, grant in enumerate(app.grants)]
    spoken += [(key.service, ("config", name, "service"), False) for name, key in app.config.items()]
    for name, path, is_key in spoken:
        if name not in project.services:
            mark = locate(tree, path, key=is_key)
            code = "E0443" if path[0] == "config" else "E0441"
            text = f"{name} is not a service of the compose file"
            findings.add(code, mark, text, suggestion=did_you_mean(name, project.services))
    kept = project.volumes.values()
    for name in (name for name in app.volumes if name not in kept):
        mark, text = locate(tree, ("volumes", name), key=True), f"{name} is not a volume of the compose file"
        findings.add("E0441", mark, text, suggestion=did_you_mean(name, kept))
    images = {s.image for s in project.services.values()} | {
        o.image for overrides in app.arch.values() for o in overrides.values()
    }
    for name in app.images:
        if name not in images:
            mark = locate(tree, ("images", name), key=True)
            close = did_you_mean(name, [i for i in images if i])
            findings.add("E0441", mark, f"no service uses the image {name}", suggestion=close)


def _health(app: AppFile) -> dict[str, Any]:
    said = {
        "window_s": app.health.window,
        "max_restarts": app.health.restarts,
        "memory_slope_percent_per_h": app.health.memory_slope,
    }
    return {k: v for k, v in said.items() if v is not None}


def _validate(service: ComposeService, fields: dict[str, Any], app: AppFile, tree: Node, findings: Findings) -> None:
    """The release's own model has the last word; its faults are shown where the value came from."""
    images = {"linux/amd64": STAND_IN.model_dump(mode="json")}
    try:
        Service.model_validate_json(strict_json.dumps({**fields, "name": service.name, "images": images}))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            loc = detail["loc"]
            if loc[:1] == ("name",):
                continue  # said already, with a suggestion
            mark = _place(service, loc, app, tree)
            reason = detail["msg"].removeprefix("Value error, ")
            shown = ".".join(str(p) for p in loc if p != "[key]")
            findings.add("E0414", mark, f"services.{service.name}.{shown}: {reason[:1].lower()}{reason[1:]}")


def _place(service: ComposeService, loc: tuple[int | str, ...], app: AppFile, tree: Node) -> Mark:
    sections: dict[str, tuple[str, Mapping[str, Any]]] = {
        "probe": ("probes", app.probes),
        "hooks": ("hooks", app.hooks),
        "readiness": ("readiness", app.readiness),
        "maximum": ("maximum", app.maximum),
        "limits": ("limits", app.limits),
    }
    if not loc and (own := app.hooks.get(service.name)) is not None and own.pre_stop is not None:
        return locate(tree, ("hooks", service.name, "preStop"), key=True)
    section = sections.get(str(loc[0])) if loc else None
    if section and service.name in section[1] and loc not in service.marks:
        return locate(tree, (section[0], service.name), key=True)
    if loc[:1] == ("privileges",):
        return locate(tree, ("grants",), key=True)
    for length in range(len(loc), 0, -1):
        if (mark := service.marks.get(loc[:length])) is not None:
            return mark
    return service.mark
