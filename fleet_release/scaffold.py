"""The first app.yaml and fleet.yaml beside a compose file, and the schemas that editors complete them with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_protocol.wire import bounds
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import Exit, RoadsteadError
from fleet_release.compile_limits import SMALL_DEFAULTS
from fleet_release.compose.load import DiskFiles
from fleet_release.compose.model import ComposeProject, ComposeService
from fleet_release.findings import FilesRefusedError, Finding, Findings
from fleet_release.lint import read_compose
from fleet_release.manifest.schema import export_schema
from fleet_release.values import name_of, parse_duration, show_cpus, show_size


class FileExistsAlreadyError(RoadsteadError):
    """A file of the user's would be overwritten."""

    phase = "writing the first files"
    component = "init"
    code = "E0831"
    exit_status = Exit.CONFLICT


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What was written, and what the compose file will be asked about."""

    written: tuple[Path, ...]
    findings: tuple[Finding, ...]


def scaffold(
    compose: Path,
    *,
    name: str = "",
    version: str = "0.1.0",
    force: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Scaffold:
    """Write app.yaml, fleet.yaml and .fleet/*.schema.json beside `compose`.

    Its faults are findings, not errors: the first files are of help in mending them. Raises FileExistsAlreadyError,
    or FilesRefusedError for a file that cannot be read at all."""
    folder = compose.parent
    files = {folder / "app.yaml", folder / "fleet.yaml"}
    if not force and (there := sorted(str(f) for f in files if f.exists())):
        raise FileExistsAlreadyError("it is there already", element=", ".join(there), hint="--force writes it anew")
    findings = Findings()
    project = read_compose((str(compose),), DiskFiles(), os.environ if environment is None else environment, findings)
    if project is None:
        findings.refuse()
        raise FilesRefusedError((Finding("E0411", str(compose), 1, 1, "the compose file is empty"),))
    app = name or name_of(compose.resolve().parent.name) or "app"
    texts = {
        folder / "app.yaml": app_text(app, version, compose.name, project),
        folder / "fleet.yaml": fleet_text(app, version, project),
        folder / ".fleet" / "app.schema.json": export_schema("app"),
        folder / ".fleet" / "fleet.schema.json": export_schema("fleet"),
    }
    (folder / ".fleet").mkdir(exist_ok=True)
    for path, text in texts.items():
        replace_durably(path, text.encode(), mode=0o644)
    return Scaffold(tuple(texts), findings.all())


def app_text(name: str, version: str, compose: str, project: ComposeProject) -> str:
    """app.yaml for `project`. Grants stand as comments: a person decides on them."""
    said = version if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) else f'"{version}"'
    memory, cpus, pids = (SMALL_DEFAULTS[k] for k in ("memory_bytes", "cpu_millis", "pids"))
    defaults = f"{{memory: {show_size(memory)}, cpus: {show_cpus(cpus)}, pids: {pids}, readOnly: true, capDrop: [ALL]}}"
    out = [
        "# yaml-language-server: $schema=./.fleet/app.schema.json",
        "apiVersion: roadstead/v1",
        "kind: App",
        f"name: {name}",
        f"version: {said}",
        f"compose: ./{compose}",
        "# For every service that neither the compose file nor `limits` says more about.",
        f"defaults: {defaults}",
    ]
    probes = _probes(project)
    if probes:
        out += ["# How a service shows that it is well, for example:", "# probes:", *probes]
    if grants := [line for s in project.services.values() for line in _grants(s)]:
        out += [
            "# The compose file asks for more than the default profile. Grant what is right, with a reason:",
            "# grants:",
            *grants,
        ]
    out += [
        "# What a fleet or a device may set; nothing else can be, for example:",
        "# config:",
        f"#   SITE: {{service: {next(iter(project.services), 'web')}, to: env}}",
    ]
    return "\n".join(out) + "\n"


def _probes(project: ComposeProject) -> list[str]:
    out = []
    for service in project.services.values():
        ports = service.fields.get("ports")
        if ports and "probe" not in service.fields:
            out.append(f'#   {service.name}: {{tcp: ":{ports[0]["container_port"]}", every: 10s}}')
    return out


def _grants(service: ComposeService) -> list[str]:
    wants = []
    if service.capabilities:
        wants.append(f"capabilities: [{', '.join(service.capabilities)}]")
    if service.devices:
        wants.append(f"devices: [{', '.join(service.devices)}]")
    if service.fields.get("network") == "host":
        wants.append("network: host")
    if service.read_only is False:
        wants.append("writableRoot: true")
    return [f'#   - {{service: {service.name}, {", ".join(wants)}, reason: "..."}}'] if wants else []


def fleet_text(name: str, version: str, project: ComposeProject) -> str:
    """fleet.yaml; deploy.update_config becomes the rollout, where there is one."""
    update = next((s.update for s in project.services.values() if s.update), {})
    fleet = name if bounds.matches(bounds.NAME_PATTERN, name) else "fleet"
    out = [
        "# yaml-language-server: $schema=./.fleet/fleet.schema.json",
        "apiVersion: roadstead/v1",
        "kind: Fleet",
        f"name: {fleet}",
        "# Devices with all of these labels; `select: all` for every device.",
        "select: {site: lab}",
        f"run: [{name}@{version}]",
        "rollout:",
        f"  waves: [{_first_wave(update)}, rest]",
        f"  soak: {_soak(update)}",
        f"  stopAt: {_stop_at(update)}",
        f"  onFail: {_on_fail(update)}",
    ]
    return "\n".join(out) + "\n"


def _first_wave(update: Mapping[str, str]) -> str:
    size = update.get("parallelism", "1")
    return f"{{name: canary, devices: {size if size.isdigit() and 0 < int(size) <= 1_000_000 else 1}}}"


def _soak(update: Mapping[str, str]) -> str:
    """The longer of monitor and delay: both are a time to look before going on."""
    best, text = 0.0, "10m"
    for key in ("delay", "monitor"):
        try:
            seconds = parse_duration(update.get(key, ""))
        except ValueError:
            continue
        if seconds > best:
            best, text = seconds, update[key]
    return text


def _stop_at(update: Mapping[str, str]) -> str:
    try:
        ratio = float(update.get("max_failure_ratio", ""))
    except ValueError:
        return "2%"
    return f"{max(0.0, min(1.0, ratio)) * 100:g}%"


def _on_fail(update: Mapping[str, str]) -> str:
    return {"continue": "continue", "pause": "pause"}.get(update.get("failure_action", ""), "revert")
