"""Volumes, tmpfs, configs and secrets of a compose file."""

from __future__ import annotations

from fleet_protocol.wire import bounds
from fleet_release.compose import keys
from fleet_release.compose.load import Sources, beside, read_text
from fleet_release.compose.model import ComposeProject, ComposeService, FileDefinition, FileUse
from fleet_release.compose.read import Reader
from fleet_release.findings import Mark, did_you_mean
from fleet_release.values import name_of, parse_size
from fleet_release.yaml_tree import Map, Node

MODES = {"rw": False, "ro": True}
QUIET_MODES = ("z", "Z", "nocopy", "cached", "delegated", "consistent")
QUIET_TMPFS = ("rw", "noexec", "nosuid", "nodev", "exec", "mode", "uid", "gid")


def read_volumes(node: Map, service: ComposeService, project: ComposeProject, reader: Reader) -> None:
    """Named volumes; everything that reaches into the host is refused."""
    out: list[dict[str, object]] = []
    for item in reader.items(node.get("volumes"), "volumes"):
        found = _long(item, service, reader) if isinstance(item, Map) else _short(item, reader)
        if found is None:
            continue
        name, target, read_only = found
        kept = project.volumes.get(name)
        if kept is None:
            close = did_you_mean(name, project.volumes)
            text = f"the volume {name} is not defined under the top-level volumes"
            reader.findings.add("E0441", item.mark, text, suggestion=close)
            continue
        service.marks["volumes", len(out)] = item.mark
        out.append({"name": kept, "target": target, "read_only": read_only})
    if out:
        service.put("volumes", out, node.entries["volumes"].mark)


def _short(item: Node, reader: Reader) -> tuple[str, str, bool] | None:
    text = reader.text(item, "volumes")
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) == 1:
        why = "name the volume, NAME:/path: data of a volume without a name is lost at every change"
        reader.findings.add("E0421", item.mark, f"an anonymous volume cannot be honoured: {why}")
        return None
    if _host_path(parts[0], item.mark, reader):
        return None
    if len(parts) > 3:
        reader.findings.add("E0414", item.mark, f"{text[:60]!r} is not NAME:/path[:ro]")
        return None
    read_only = False
    for mode in parts[2].split(",") if len(parts) == 3 else ():
        if mode in MODES:
            read_only = MODES[mode]
        elif mode not in QUIET_MODES:
            reader.findings.add("E0414", item.mark, f"{mode!r} is not a mode of a volume: ro or rw")
    return parts[0], parts[1], read_only


def _host_path(source: str, mark: Mark, reader: Reader) -> bool:
    if source.endswith(("docker.sock", "containerd.sock", "podman.sock")):
        reader.findings.add(
            "E0423", mark, f"{source} would give the container the whole host; there is no such engine on an edge host"
        )
        return True
    if source.startswith((".", "/", "~")) or "/" in source or "\\" in source:
        hint = "for data: a named volume; for a file: `config: {NAME: {service: ..., to: /path}}` in app.yaml"
        reader.findings.add("E0423", mark, f"the host's path {source} cannot be mounted", hint=hint)
        return True
    return False


def _long(item: Map, service: ComposeService, reader: Reader) -> tuple[str, str, bool] | None:
    reader.keys(item, keys.MOUNT, "volumes")
    kind = reader.text(item.get("type"), "volumes.type") or "volume"
    source = reader.text(item.get("source"), "volumes.source") or ""
    target = reader.text(item.get("target"), "volumes.target") or ""
    read_only = bool(reader.flag(item.get("read_only"), "volumes.read_only"))
    if not target:
        reader.findings.add("E0411", item.mark, "a mount needs its target, the path inside the container")
        return None
    if kind == "tmpfs":
        options = reader.mapping(item.get("tmpfs"), "volumes.tmpfs")
        if options:
            reader.keys(options, keys.MOUNT_TMPFS, "volumes.tmpfs")
        _add_tmpfs(
            service,
            target,
            reader.parsed(options.get("size"), "tmpfs size", parse_size) if options else None,
            item.mark,
        )
        return None
    if kind == "bind":
        _host_path(source if "/" in source else f"./{source}", item.mark, reader)
        return None
    if kind != "volume":
        what = "named volumes and tmpfs are what an edge host has"
        reader.findings.add("E0421", item.mark, f"a mount of type {kind[:20]} cannot be honoured: {what}")
        return None
    if options := reader.mapping(item.get("volume"), "volumes.volume"):
        reader.keys(options, keys.MOUNT_VOLUME, "volumes.volume")
    if not source:
        reader.findings.add("E0421", item.mark, "an anonymous volume cannot be honoured: name it with `source`")
        return None
    return source, target, read_only


def read_tmpfs(node: Map, service: ComposeService, reader: Reader) -> None:
    """`/run` or `/run:size=64m`."""
    for text, mark in reader.strings(node.get("tmpfs"), "tmpfs"):
        target, _, options = text.partition(":")
        size: int | None = None
        for option in filter(None, options.split(",")):
            name, _, value = option.partition("=")
            if name == "size":
                try:
                    size = parse_size(value)
                except ValueError as error:
                    reader.findings.add("E0414", mark, f"tmpfs: {error}")
            elif name not in QUIET_TMPFS:
                reader.findings.add("E0414", mark, f"{name!r} is not an option of a tmpfs here: only size is")
            elif "=" in option or name == "exec":
                why = "the host decides how a tmpfs is mounted"
                reader.findings.note("N0402", mark, f"{option} has no effect here: {why}")
        _add_tmpfs(service, target, size, mark)


def _add_tmpfs(service: ComposeService, target: str, size: int | None, mark: Mark) -> None:
    listed = service.fields.setdefault("tmpfs", [])
    service.marks["tmpfs", len(listed)] = mark
    listed.append({"target": target, **({"size_bytes": size} if size is not None else {})})


def read_files(node: Map, service: ComposeService, reader: Reader) -> None:
    """`configs` and `secrets` of a service."""
    for secret, key in ((False, "configs"), (True, "secrets")):
        for item in reader.items(node.get(key), key):
            if isinstance(item, Map):
                reader.keys(item, keys.FILE_OF_SERVICE, key)
                name = reader.text(item.get("source"), f"{key}.source")
                target = reader.text(item.get("target"), f"{key}.target")
            else:
                name, target = reader.text(item, key), None
            if not name:
                reader.findings.add("E0411", item.mark, f"{key} needs the source of each file")
                continue
            usual = f"/run/secrets/{name}" if secret else f"/{name}"
            if target and not target.startswith("/"):
                target = f"/run/secrets/{target}" if secret else f"/{target}"
            service.files.append(FileUse(name, target or usual, secret, item.mark))


def read_top_volumes(root: Map, project: ComposeProject, reader: Reader) -> None:
    """The top-level volumes, under names that are paths on every host."""
    section = reader.mapping(root.get("volumes"), "volumes")
    for entry in section or ():
        if settings := reader.mapping(entry.node, f"volumes.{entry.key}"):
            reader.keys(settings, keys.VOLUME, f"volumes.{entry.key}")
        kept = entry.key if bounds.matches(bounds.NAME_PATTERN, entry.key) else name_of(entry.key)
        if not kept or kept in project.volumes.values():
            reader.findings.add("E0445", entry.mark, f"{entry.key} cannot be the name of a volume", suggestion=kept)
            continue
        if kept != entry.key:
            reader.findings.note("N0401", entry.mark, f"the volume {entry.key} is kept as {kept}")
        project.volumes[entry.key] = kept


def read_top_files(root: Map, project: ComposeProject, sources: Sources, reader: Reader) -> None:
    """The top-level configs and secrets. A secret's value is never read: a signed release is public."""
    for secret, key, table in ((False, "configs", keys.CONFIG), (True, "secrets", keys.SECRET)):
        section = reader.mapping(root.get(key), key)
        for entry in section or ():
            settings = reader.mapping(entry.node, f"{key}.{entry.key}")
            content: str | None = None
            if settings:
                reader.keys(settings, table, f"{key}.{entry.key}")
                content = None if secret else _content(settings, sources, reader)
            project.definitions[secret, entry.key] = FileDefinition(entry.key, secret, content, entry.mark)


def _content(settings: Map, sources: Sources, reader: Reader) -> str | None:
    if (place := settings.get("content")) is not None:
        return reader.text(place, "content")
    if (place := settings.get("file")) is not None and (name := reader.text(place, "file")):
        return read_text(sources, beside(place.mark.file, name), place.mark)
    if (place := settings.get("environment")) is not None and (name := reader.text(place, "environment")):
        value = sources.variables.get(name)
        if value is None:
            reader.findings.add("E0431", place.mark, f"the variable {name} is not set")
        return value
    return None
