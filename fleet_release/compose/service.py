"""A compose file read into a ComposeProject: every key of every service is looked at, nothing is passed over."""

from __future__ import annotations

import re
import shlex
from typing import Any

from fleet_protocol.wire import bounds
from fleet_release.compose import hooks, keys, network, resources, storage
from fleet_release.compose.interpolate import parse_dotenv
from fleet_release.compose.load import Sources, beside, read_text
from fleet_release.compose.model import ComposeProject, ComposeService
from fleet_release.compose.read import Reader
from fleet_release.findings import did_you_mean
from fleet_release.images.errors import ImageNotFoundError
from fleet_release.images.reference import parse_reference
from fleet_release.values import name_of, parse_size
from fleet_release.yaml_tree import Entry, Map, Node, Scalar

CONDITIONS = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}
NO_NEW_PRIVILEGES = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")


def read_project(root: Map, sources: Sources) -> ComposeProject:
    """Everything in the merged tree of one app's compose files."""
    reader = Reader(sources.findings)
    project = ComposeProject(root.mark)
    section = reader.mapping(root.get("services"), "services")
    if not section or not section.entries:
        sources.findings.add("E0411", root.mark, "a compose file needs services")
        return project
    storage.read_top_volumes(root, project, reader)
    storage.read_top_files(root, project, sources, reader)
    known = network.read_top_networks(root, reader)
    joined = []
    for entry in section:
        if entry.key.startswith("x-"):
            continue
        if (service := _service(entry, project, sources, reader)) is not None:
            project.services[entry.key] = service
        joined.append(network.check_networks(entry, known, reader))
    if len(set().union(*joined)) > 1:
        text = "networks are translated into the app's one network: all its services reach each other"
        sources.findings.note("N0401", section.mark, text)
    network.join_links(project, reader)
    _check_dependencies(project, reader)
    for name, origin in sources.variables.used.items():
        sources.findings.note("N0403", root.mark, f"{name} comes from {origin}")
    return project


def _service(entry: Entry, project: ComposeProject, sources: Sources, reader: Reader) -> ComposeService | None:
    node = reader.mapping(entry.node, f"services.{entry.key}")
    if not bounds.matches(bounds.NAME_PATTERN, entry.key):
        unusable = f'"{entry.key[:60]}" cannot be the name of a service'
        reader.findings.add("E0445", entry.mark, unusable, suggestion=name_of(entry.key))
    if node is None:
        reader.findings.add("E0424", entry.mark, f"the service {entry.key} names no image")
        return None
    service = ComposeService(entry.key, entry.mark)
    reader.keys(node, keys.SERVICE, "")
    _image(node, entry, service, reader)
    for key in ("command", "entrypoint"):
        _arguments(node, key, service, reader)
    if service.fields.get("entrypoint") is not None and "command" not in service.fields:
        # Compose: with an entrypoint of its own, a service does not get the image's command.
        service.fields["command"] = []
    _environment(node, service, sources, reader)
    for key in ("working_dir", "hostname"):
        if (text := reader.text(node.get(key), key)) is not None:
            service.put(key, text, node.entries[key].mark)
    _user(node, service, reader)
    _depends_on(node, service, reader)
    resources.read_deploy(node, service, reader)
    resources.read_restart(node, service, reader)
    resources.read_limits(node, service, reader)
    resources.read_stop(node, service, reader)
    resources.read_healthcheck(node, service, reader)
    hooks.read_hooks(node, service, reader)
    network.read_ports(node, service, reader)
    network.read_network(node, service, reader)
    storage.read_volumes(node, service, project, reader)
    storage.read_tmpfs(node, service, reader)
    storage.read_files(node, service, reader)
    _privileges(node, service, reader)
    if (size := reader.parsed(node.get("shm_size"), "shm_size", parse_size)) is not None:
        service.put("shm_bytes", size, node.entries["shm_size"].mark)
    if (flag := reader.flag(node.get("init"), "init")) is not None:
        service.put("init", flag, node.entries["init"].mark)
    if logging := reader.mapping(node.get("logging"), "logging"):
        reader.keys(logging, keys.LOGGING, "logging")
    return service


def _image(node: Map, entry: Entry, service: ComposeService, reader: Reader) -> None:
    place = node.get("image")
    service.image = reader.text(place, "image") or None
    service.image_mark = place.mark if place else entry.mark
    build = node.entries.get("build")
    if build and isinstance(build.node, Map):
        reader.keys(build.node, keys.BUILD, "build")
    if service.image is None:
        if build:
            text = f"build cannot be honoured: {keys.SERVICE['build'].why}"
            reader.findings.add("E0424", build.mark, text, hint="name the pushed image with `image`")
        else:
            reader.findings.add("E0424", entry.mark, f"the service {entry.key} names no image")
        return
    try:
        parse_reference(service.image)
    except ImageNotFoundError as error:
        if not reader.findings.any_at(service.image_mark):  # a variable that is not set was told already
            reader.findings.add("E0414", service.image_mark, f'"{service.image[:90]}" {error.reason}')
    if build:
        text = "build has no effect here: the release takes the image as it is, and builds nothing"
        reader.findings.note("N0402", build.mark, text)


def _arguments(node: Map, key: str, service: ComposeService, reader: Reader) -> None:
    place = node.get(key)
    if place is None:
        return
    if isinstance(place, Scalar):
        text = reader.text(place, key)
        if text is None:
            return
        try:
            service.put(key, shlex.split(text), place.mark)
        except ValueError as error:
            reader.findings.add("E0414", place.mark, f"{key} cannot be split into arguments: {str(error).lower()}")
        return
    service.put(key, [text for text, _ in reader.strings(place, key)], place.mark)


def _environment(node: Map, service: ComposeService, sources: Sources, reader: Reader) -> None:
    out: dict[str, str] = {}
    for item in _env_files(node.get("env_file"), reader):
        path, mark, required = item
        name = beside(mark.file, path)
        text = read_text(sources, name, mark) if required else _optional(sources, name)
        if text is None:
            continue
        try:
            values = parse_dotenv(text, sources.variables)
        except ValueError as error:
            reader.findings.add("E0432", mark, f"{name}: {error}")
            continue
        for key, value in values.items():
            found = sources.variables.get(key) if value is None else value
            if found is not None:
                out[key] = found
                service.marks["environment", key] = mark
    for key, (value, mark) in reader.pairs(node.get("environment"), "environment").items():
        found = sources.variables.get(key) if value is None else value
        if found is None:
            reader.findings.add("E0431", mark, f"{key} has no value here, and the variable is not set")
            continue
        out[key] = found
        service.marks["environment", key] = mark
    if out:
        service.fields["environment"] = out


def _env_files(node: Node | None, reader: Reader) -> list[tuple[str, Any, bool]]:
    if node is None:
        return []
    if isinstance(node, Scalar):
        return [(text, mark, True) for text, mark in reader.strings(node, "env_file")]
    out = []
    for item in reader.items(node, "env_file"):
        if isinstance(item, Map):
            for entry in item:
                if entry.key not in ("path", "required", "format"):
                    reader.findings.add("E0412", entry.mark, f'unknown key "{entry.key}" in env_file')
            if reader.text(item.get("format"), "env_file.format") not in (None, "raw"):
                reader.findings.add("E0414", item.mark, "env_file.format is raw, or left out")
            path = reader.text(item.get("path"), "env_file.path")
            required = reader.flag(item.get("required"), "env_file.required")
            if path:
                out.append((path, item.mark, required is not False))
        elif (path := reader.text(item, "env_file")) is not None:
            out.append((path, item.mark, True))
    return out


def _optional(sources: Sources, name: str) -> str | None:
    try:
        return sources.files.read(name)
    except (OSError, UnicodeDecodeError):
        return None


def _user(node: Map, service: ComposeService, reader: Reader) -> None:
    place = node.get("user")
    text = reader.text(place, "user")
    if place is None or text is None:
        return
    if not re.fullmatch(r"[0-9]{1,5}(:[0-9]{1,5})?", text):
        why = "the user is given by number, UID or UID:GID: a name would be looked up in a file that the image controls"
        reader.findings.add("E0421", place.mark, f"user: {text[:40]} cannot be honoured: {why}")
        return
    service.put("user", text, place.mark)


def _depends_on(node: Map, service: ComposeService, reader: Reader) -> None:
    place = node.get("depends_on")
    out: dict[str, str] = {}
    if isinstance(place, Map):
        for entry in place:
            service.marks["depends_on", entry.key] = entry.mark
            settings = reader.mapping(entry.node, f"depends_on.{entry.key}")
            condition = "service_started"
            if settings:
                reader.keys(settings, keys.DEPENDENCY, f"depends_on.{entry.key}")
                condition = reader.text(settings.get("condition"), "condition") or condition
            if condition in CONDITIONS:
                out[entry.key] = CONDITIONS[condition]
            else:
                text = f"{condition[:40]!r} is not a condition: {', '.join(CONDITIONS)}"
                close = did_you_mean(condition, CONDITIONS)
                reader.findings.add("E0414", entry.mark, text, suggestion=close)
    else:
        for name, mark in reader.strings(place, "depends_on"):
            out[name] = "started"
            service.marks["depends_on", name] = mark
    if out:
        service.fields["depends_on"] = out


def _privileges(node: Map, service: ComposeService, reader: Reader) -> None:
    service.read_only = reader.flag(node.get("read_only"), "read_only")
    if (entry := node.entries.get("read_only")) is not None:
        service.marks["read_only",] = entry.mark
    for text, mark in reader.strings(node.get("cap_add"), "cap_add"):
        name = text.upper()
        if name in ("ALL", "CAP_ALL"):
            reader.findings.add("E0421", mark, "cap_add: ALL cannot be honoured: name the capabilities one by one")
        else:
            service.capabilities[name if name.startswith("CAP_") else f"CAP_{name}"] = mark
    if "cap_drop" in node.entries:
        reader.strings(node.get("cap_drop"), "cap_drop")  # every capability is dropped anyway
    for text, mark in reader.strings(node.get("security_opt"), "security_opt"):
        if text not in NO_NEW_PRIVILEGES:
            why = "the profile of an edge host is not relaxed by a release"
            reader.findings.add("E0421", mark, f"security_opt: {text[:60]} cannot be honoured: {why}")
    for item in reader.items(node.get("devices"), "devices"):
        if isinstance(item, Map):
            parts = [reader.text(item.get(k), f"devices.{k}") or "" for k in ("source", "target", "permissions")]
        else:
            parts = [*(reader.text(item, "devices") or "").split(":"), "", ""][:3]
        source, target, permissions = parts
        if target and not target.startswith("/"):
            target, permissions = "", target
        if target not in ("", source) or "".join(sorted(permissions)) not in ("", "mrw"):
            why = "a device has the same path inside, and is read and written"
            reader.findings.add("E0421", item.mark, f"the device {source[:60]} cannot be mapped like this: {why}")
        elif source:
            service.devices[source] = item.mark


def _check_dependencies(project: ComposeProject, reader: Reader) -> None:
    for service in project.services.values():
        for other in list(service.fields.get("depends_on", {})):
            mark = service.marks.get(("depends_on", other), service.mark)
            if other not in project.services or other == service.name:
                others = [n for n in project.services if n != service.name]
                text = f"{service.name} depends on {other}, which is not another service of this file"
                reader.findings.add("E0441", mark, text, suggestion=did_you_mean(other, others))
                del service.fields["depends_on"][other]
    waiting = {n: set(s.fields.get("depends_on", {})) for n, s in project.services.items()}
    started: set[str] = set()
    while ready := {n for n, needs in waiting.items() if n not in started and needs <= started}:
        started |= ready
    if stuck := sorted(set(waiting) - started):
        first = project.services[stuck[0]]
        reader.findings.add("E0442", first.mark, f"depends_on goes in a circle: {', '.join(stuck)}")
