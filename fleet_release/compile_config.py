"""Declared configuration keys, from app.yaml and from compose's configs and secrets; values checked against them."""

from __future__ import annotations

import re
from typing import Any

from fleet_protocol.documents import patterns
from fleet_protocol.documents.release import ConfigKey, Release
from fleet_protocol.wire import bounds
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.compose.model import ComposeProject, FileUse
from fleet_release.findings import Findings, did_you_mean
from fleet_release.manifest.app_file import AppConfigKey, AppFile
from fleet_release.yaml_tree import Node, locate

MAX_DEFAULT = 4096
FILE_BYTES = 16 * 1024
SECRET_BYTES = 4096
PLACEHOLDER = re.compile(r"\{label\.[a-z][a-z0-9_.-]{0,31}\}")


def declare_config(app: AppFile, tree: Node, project: ComposeProject, findings: Findings) -> dict[str, Any]:
    """The release's `config`. app.yaml's own declaration of a name wins over the compose file's."""
    out: dict[str, Any] = {}
    for name, key in app.config.items():
        if (declared := _declared(name, key, tree, findings)) is not None:
            out[name] = declared
    uses: dict[tuple[bool, str], list[tuple[str, FileUse]]] = {}
    for service in project.services.values():
        for use in service.files:
            uses.setdefault((use.secret, use.name), []).append((service.name, use))
    for (secret, name), listed in uses.items():
        if name in app.config:
            continue
        definition = project.definitions.get((secret, name))
        for user, use in listed:
            if definition is None:
                section = "secrets" if secret else "configs"
                known = [n for s, n in project.definitions if s == secret]
                text = f"{name} is not defined under the top-level {section}"
                findings.add("E0441", use.mark, text, suggestion=did_you_mean(name, known))
                continue
            own = name if len(listed) == 1 else f"{name}.{user}"
            if (declared := _from_file(own, user, use, definition.content, findings)) is not None:
                out[own] = declared
    if len(out) > bounds.MAX_CONFIG_KEYS:
        text = f"{len(out)} configuration keys, at most {bounds.MAX_CONFIG_KEYS} are possible"
        findings.add("E0414", locate(tree, ("config",), key=True), text)
    return out


def _declared(name: str, key: AppConfigKey, tree: Node, findings: Findings) -> dict[str, Any] | None:
    place = locate(tree, ("config", name), key=True)
    out: dict[str, Any] = {"service": key.service, "type": key.type, "secret": key.secret}
    if key.to == "env":
        if not bounds.matches(bounds.ENV_NAME_PATTERN, name):
            findings.add(
                "E0443", place, f"{name} cannot be the name of a variable; say `to: /path`, or choose another name"
            )
            return None
        if bounds.FORBIDDEN_ENV.fullmatch(name):
            findings.add("E0444", place, f"{name} steers a loader or an interpreter and cannot be configuration")
            return None
        out["env"] = name
    elif bounds.matches(bounds.ABSOLUTE_PATH_PATTERN, key.to):
        out["file"] = key.to
    else:
        findings.add("E0443", locate(tree, ("config", name, "to")), f"{key.to[:60]!r} is not an absolute path")
        return None
    if key.max is not None:
        if not 1 <= key.max <= bounds.MAX_VALUE_BYTES:
            text = f"max is 1 to {bounds.MAX_VALUE_BYTES} bytes, not {key.max}"
            findings.add("E0414", locate(tree, ("config", name, "max")), text)
            return None
        out["max_bytes"] = key.max
    elif key.type == "text":
        out["max_bytes"] = FILE_BYTES
    if key.pattern is not None:
        try:
            patterns.check(key.pattern)
        except DocumentInvalidError as error:
            text = f"the pattern cannot be used: {error.reason}"
            findings.add("E0414", locate(tree, ("config", name, "pattern")), text)
            return None
        out["pattern"] = key.pattern
    if key.default is not None:
        if len(key.default) > MAX_DEFAULT:
            findings.add(
                "E0414", locate(tree, ("config", name, "default")), f"a default has at most {MAX_DEFAULT} characters"
            )
            return None
        out["default"] = key.default
        if reason := value_fault(ConfigKey.from_value(out), key.default):
            findings.add("E0414", locate(tree, ("config", name, "default")), f"the default of {name} {reason}")
    return out


def _from_file(key: str, service: str, use: FileUse, content: str | None, findings: Findings) -> dict[str, Any] | None:
    kind = "secret" if use.secret else "config"
    if not bounds.matches(bounds.CONFIG_KEY_PATTERN, key):
        findings.add("E0445", use.mark, f"{key} cannot be the name of a configuration key")
        return None
    if not bounds.matches(bounds.ABSOLUTE_PATH_PATTERN, use.target):
        findings.add("E0414", use.mark, f"the target of the {kind} {use.name} is not an absolute path")
        return None
    out: dict[str, Any] = {"service": service, "type": "text", "file": use.target}
    if use.secret:
        text = (
            f"the secret {use.name} becomes the configuration key {key}; fleet.yaml sets its value, no release holds it"
        )
        findings.note("N0401", use.mark, text)
        return {**out, "secret": True, "max_bytes": SECRET_BYTES}
    if content is not None and len(content) > MAX_DEFAULT:
        text = f"the config {use.name} has {len(content)} characters, a release carries at most {MAX_DEFAULT}"
        hint = f"declare {key} in app.yaml under config, with `to: {use.target}`, and set it in fleet.yaml"
        findings.add("E0421", use.mark, text, hint=hint)
        return None
    findings.note(
        "N0401", use.mark, f"the config {use.name} becomes the configuration key {key}, which a fleet may set"
    )
    return {**out, "max_bytes": FILE_BYTES, **({} if content is None else {"default": content})}


def value_fault(key: ConfigKey, value: str) -> str:
    """Why `value` does not fit what was declared, or nothing. A value with a placeholder is judged by the server."""
    if PLACEHOLDER.search(value):
        return ""
    if len(value.encode()) > key.max_bytes:
        return f"has {len(value.encode())} bytes, at most {key.max_bytes} are declared"
    if key.type == "integer" and not re.fullmatch(r"-?[0-9]{1,16}", value):
        return f"is {value[:40]!r}, an integer is declared"
    if key.type == "boolean" and value not in ("true", "false"):
        return f"is {value[:40]!r}, true or false is declared"
    if key.type == "string" and any(ord(c) < 32 or ord(c) == 127 for c in value):
        return "has control characters; declare `type: text` for several lines"
    if key.pattern is not None and not patterns.full_match(key.pattern, value):
        return f"is {value[:40]!r}, which does not match {key.pattern}"
    return ""


def undeclared(release: Release, values: dict[str, str]) -> list[tuple[str, str, str]]:
    """(key, sentence, suggestion) for each value that a fleet may not set."""
    out = []
    for name, value in values.items():
        key = release.config.get(name)
        if key is None:
            text = f"{name} is not a configuration key that {release.app} {release.version} declares"
            out.append((name, text, did_you_mean(name, release.config)))
        elif reason := value_fault(key, value):
            out.append((name, f"{name} {reason}", ""))
    return out
