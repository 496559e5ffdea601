"""Is a sealed revision still what prepare sealed? Asked before anything is made of it. Starter only."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NamedTuple

from edge_daemon.keeper.runtime.errors import RuntimeFailedError, SealBrokenError
from edge_daemon.layout import Layout
from edge_daemon.sealed import REVISION_SCHEMA, Revision, SealedService

MAX_CONTROL_FILE = 8 * 1024 * 1024


class Checked(NamedTuple):
    """What may be started: every value comes from bytes whose hash was just compared."""

    revision: Revision
    service: SealedService
    config_bytes: bytes
    config: dict[str, Any]


class Owner(NamedTuple):
    """Numbers of the host behind the container's root and behind its first process's user."""

    root_uid: int
    root_gid: int
    user_uid: int
    user_gid: int


def check(layout: Layout, app: str, service: str, revision: str, seal: str) -> Checked:
    """Compare the seal with revision.json, and that with every control file of the service."""
    folder, element = str(layout.revision(app, revision)), f"{app}/{service}"
    manifest = _read(folder, "revision.json", element)
    if hashlib.sha256(manifest).hexdigest() != seal:
        raise SealBrokenError("sealed files were altered: revision.json is not what was sealed", element=element)
    sealed: Revision = json.loads(manifest)
    if sealed["schema"] != REVISION_SCHEMA or sealed["app"] != app or sealed["revision"] != revision:
        raise SealBrokenError("the sealed revision is of another app, revision or format", element=element)
    found = next((s for s in sealed["services"] if s["name"] == service), None)
    if found is None:
        raise RuntimeFailedError(f"the revision has no service {service}", element=element)
    config = b""
    wanted = f"services/{service}/config.json"
    for path in sorted({wanted, *(p for p in sealed["files"] if p.startswith(f"services/{service}/"))}):
        data = _read(folder, path, element)
        if hashlib.sha256(data).hexdigest() != sealed["files"].get(path):
            raise SealBrokenError(f"sealed files were altered: {path} is not what was sealed", element=element)
        if path == wanted:
            config = data
    return Checked(sealed, found, config, json.loads(config))


def fits(config: dict[str, Any], *, rootfs: str, group: str, element: str) -> None:
    """Refuse a configuration that was sealed for other directories than this keeper's."""
    there = config.get("root", {}).get("path"), config.get("linux", {}).get("cgroupsPath")
    if there != (rootfs, group):
        raise RuntimeFailedError(
            f"it was prepared for {there[0]} in the cgroup {there[1]}, this daemon runs {rootfs} in {group}",
            element=element,
            hint="prepare it again with the daemon's own --run-dir and --cgroup-parent",
        )


def owner(config: dict[str, Any]) -> Owner:
    """Who root and the first process's user of the container are on the host."""
    user = config["process"]["user"]
    uids, gids = config["linux"].get("uidMappings", []), config["linux"].get("gidMappings", [])
    return Owner(_mapped(uids, 0), _mapped(gids, 0), _mapped(uids, user["uid"]), _mapped(gids, user["gid"]))


def _mapped(mappings: list[dict[str, int]], number: int) -> int:
    for mapping in mappings:
        if mapping["containerID"] <= number < mapping["containerID"] + mapping["size"]:
            return mapping["hostID"] + number - mapping["containerID"]
    if mappings:
        raise RuntimeFailedError(f"the user {number} of the container is outside its range of users")
    return number


def _read(folder: str, path: str, element: str) -> bytes:
    """A control file's bytes; a link in its place is an alteration."""
    try:
        handle = os.open(f"{folder}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SealBrokenError(f"sealed files were altered: {path}: {error.strerror}", element=element) from error
    try:
        with os.fdopen(handle, "rb") as file:
            return file.read(MAX_CONTROL_FILE)
    except OSError as error:
        raise SealBrokenError(f"sealed files cannot be read: {path}: {error.strerror}", element=element) from error
