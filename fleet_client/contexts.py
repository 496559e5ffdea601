"""Which server to talk to, and as whom: `$XDG_CONFIG_HOME/roadstead/config.yaml`.

The file is written as JSON, which is YAML; what a person edited into other YAML is read too (then, and only then, the
YAML reader is loaded: it costs more than the rest of a quick command). `ROADSTEAD_CONFIG` names another file.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import Exit, RoadsteadError


class ContextError(RoadsteadError):
    """The context is missing or cannot be used."""

    phase = "choosing a server"
    component = "fleet"
    code = "E0500"
    exit_status = Exit.USAGE


class Context(NamedTuple):
    """One server, its pinned CA and the operator's token file."""

    name: str
    server: str  # https://host:port
    ca_file: Path
    token_file: Path
    environment: str = ""

    def token(self) -> str:
        """The operator's token. Raises ContextError if the file is missing or others may read it."""
        try:
            mode = self.token_file.stat().st_mode
            text = self.token_file.read_bytes().strip().decode("ascii")
        except OSError as error:
            raise ContextError(f"cannot read the token file: {error.strerror}", element=str(self.token_file)) from error
        except UnicodeDecodeError as error:
            raise ContextError("this is not a token: it holds more than ASCII", element=str(self.token_file)) from error
        if stat.S_IMODE(mode) & 0o077:
            raise ContextError(
                "others may read the token", element=str(self.token_file), hint=f"chmod 600 {self.token_file}"
            )
        if not text or not text.isprintable() or " " in text:
            said = "is empty" if not text else "is not one word of printable characters"
            raise ContextError(f"this is not a token: it {said}", element=str(self.token_file))
        return text


def config_path() -> Path:
    """Where contexts are kept."""
    if named := os.environ.get("ROADSTEAD_CONFIG"):
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "roadstead" / "config.yaml"


def load(name: str | None = None) -> Context:
    """The context `name`, or the current one. Raises ContextError with what to do when there is none."""
    config = _read(config_path())
    chosen = name or str(config.get("current", ""))
    entry = config.get("contexts", {}).get(chosen)
    if not isinstance(entry, dict):
        known = ", ".join(sorted(config.get("contexts", {}))) or "none"
        raise ContextError(
            f"there is no context {chosen!r} (known: {known})" if chosen else "no server is chosen yet",
            element=str(config_path()),
            hint="fleet ctx add NAME --server https://HOST:8443 --ca-file ca.pem --token-file admin.token",
        )
    try:
        return Context(
            name=chosen,
            server=str(entry["server"]).rstrip("/"),
            ca_file=Path(str(entry["ca_file"])),
            token_file=Path(str(entry["token_file"])),
            environment=str(entry.get("environment", "")),
        )
    except KeyError as error:
        raise ContextError(f"the context lacks {error}", element=f"{config_path()}: {chosen}") from error


def names() -> tuple[list[str], str]:
    """All context names, and the current one."""
    config = _read(config_path())
    return sorted(config.get("contexts", {})), str(config.get("current", ""))


def listed() -> list[dict[str, Any]]:
    """All contexts as rows; what a person left out of the file is empty."""
    config = _read(config_path())
    rows = []
    for name, entry in sorted(config.get("contexts", {}).items()):
        fields = entry if isinstance(entry, dict) else {}
        said = {key: str(fields.get(key, "")) for key in ("server", "ca_file", "token_file", "environment")}
        rows.append({"name": name, "current": name == config.get("current"), **said})
    return rows


def add(context: Context, *, use: bool) -> None:
    """Add or replace a context; `use` makes it the current one."""
    path = config_path()
    config = _read(path)
    contexts = dict(config.get("contexts", {}))
    contexts[context.name] = {
        "server": context.server,
        "ca_file": str(context.ca_file),
        "token_file": str(context.token_file),
        "environment": context.environment,
    }
    current = context.name if use or not config.get("current") else config["current"]
    _write(path, {**config, "current": current, "contexts": contexts})


def use(name: str) -> None:
    """Make `name` the current context."""
    load(name)
    path = config_path()
    _write(path, {**_read(path), "current": name})


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ContextError(f"cannot read it: {error.strerror}", element=str(path)) from error
    except UnicodeDecodeError as error:
        raise ContextError("it is not UTF-8 text", element=str(path)) from error
    try:
        value = _parsed(path, text)
    except RecursionError as error:
        raise ContextError("it is nested far too deep", element=str(path)) from error
    if isinstance(value, dict) and value.get("contexts") is None:
        value = {**value, "contexts": {}}
    if not isinstance(value, dict) or not isinstance(value.get("contexts", {}), dict):
        raise ContextError("wants a mapping with `current` and `contexts`", element=str(path))
    return value


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ContextError(f"not YAML: {' '.join(str(error).split())}", element=str(path)) from error


def _write(path: Path, config: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_durably(path, (json.dumps(config, indent=2) + "\n").encode())
    except OSError as error:
        raise ContextError(f"cannot write it: {error.strerror}", element=str(path)) from error
