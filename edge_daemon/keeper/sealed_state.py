"""Reading what prepare sealed: generations and revisions, checked against their hashes."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, TypeVar, cast

from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.supervise import Unit
from edge_daemon.layout import Layout
from edge_daemon.sealed import INDEX_SCHEMA, REVISION_SCHEMA, Index, Revision
from fleet_protocol.wire.bounds import NAME_PATTERN, SHA256_PATTERN, matches

T = TypeVar("T")

MAX_INDEX_BYTES = 256 * 1024
MAX_REVISION_BYTES = 4 * 1024 * 1024


def read_index(layout: Layout, generation: int) -> Index:
    """generations/<n>/index.json. Raises StateError."""
    what = f"generation {generation}"
    index = parse_index(_read(str(layout.generation(generation)), MAX_INDEX_BYTES, what), what)
    if index["generation"] != generation:
        raise StateError(f"its index says generation {index['generation']}", element=what)
    return index


def parse_index(data: bytes, what: str) -> Index:
    """An index from its bytes. Raises StateError."""
    value = _object(data, INDEX_SCHEMA, what)
    _wants(value, "generation", int, what)
    _wants(value, "sha256", str, what)
    apps = _wants(value, "apps", dict, what)
    settings = _wants(value, "settings", dict, what)
    for app, entry in apps.items():
        if not matches(NAME_PATTERN, app) or type(entry) is not dict:
            raise StateError(f"{app[:40]!r} is not an app's entry", element=what)
        for key in ("revision", "seal"):
            if not matches(SHA256_PATTERN, _wants(entry, key, str, what)):
                raise StateError(f"{key} of {app} is not a hash", element=what)
        _wants(entry, "release", str, what)
    value["settings"] = {k: v for k, v in settings.items() if type(v) is int}
    return cast("Index", value)


def newest_generation(layout: Layout) -> int | None:
    """The highest number with an index, or None."""
    try:
        names = os.listdir(layout.generations)
    except FileNotFoundError:
        return None
    numbers = [int(n) for n in names if n.isascii() and n.isdigit() and os.path.exists(layout.generation(int(n)))]
    return max(numbers, default=None)


def read_revision(layout: Layout, app: str, revision: str, seal: str | None) -> Revision:
    """revision.json of a sealed revision; `seal` None when only how to stop it is asked. Raises StateError."""
    what = f"{app} revision {revision[:12]}"
    data = _read(str(layout.revision(app, revision) / "revision.json"), MAX_REVISION_BYTES, what)
    if seal is not None and hashlib.sha256(data).hexdigest() != seal:
        raise StateError("revision.json is not what was sealed", element=what)
    value = _object(data, REVISION_SCHEMA, what)
    if value.get("app") != app or value.get("revision") != revision:
        raise StateError("revision.json names another app or revision", element=what)
    _wants(value, "release", str, what)
    _wants(value, "health_window_s", int, what)
    _wants(value, "max_restarts", int, what)
    services = _wants(value, "services", list, what)
    names = [_wants(service, "name", str, what) for service in services]
    if sorted(_wants(value, "start_order", list, what)) != sorted(names):
        raise StateError("the start order does not name each service once", element=what)
    for service in services:
        _wants(service, "depends_on", dict, what)
        _wants(service, "stop_grace_s", int, what)
        for key in ("image", "restart_policy", "stop_signal"):
            _wants(service, key, str, what)
    return cast("Revision", value)


def units_of(revision: Revision) -> tuple[Unit, ...]:
    """Its services in start order, as deciding needs them."""
    services = {service["name"]: service for service in revision["services"]}
    return tuple(
        Unit(
            name=service["name"],
            needs=tuple(sorted(service["depends_on"].items())),
            policy=service["restart_policy"],
            max_restarts=service.get("restart_max"),
            stop_signal=service["stop_signal"],
            grace_s=float(service["stop_grace_s"]),
            pre_stop_s=float(service.get("hooks", {}).get("pre_stop", {}).get("timeout_s", 0)),
        )
        for service in (services[name] for name in revision["start_order"])
    )


def _read(path: str, most: int, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise StateError(f"{error.strerror} ({path})", element=what) from error
    if len(data) > most:
        raise StateError(f"more than {most} bytes", element=what)
    return data


def _object(data: bytes, schema: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StateError(f"not JSON: {error}", element=what) from error
    if type(value) is not dict or value.get("schema") != schema:
        raise StateError(f"not of schema {schema}", element=what)
    return value


def _wants(value: Any, key: str, kind: type[T], what: str) -> T:
    found = value.get(key) if type(value) is dict else None
    if type(found) is not kind:
        raise StateError(f"{key} wants {kind.__name__}", element=what)
    return found
