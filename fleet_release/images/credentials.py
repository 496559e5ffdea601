"""The engineer's own registry credentials, from where the container tools keep them; used for that registry only."""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fleet_release.images.reference import HUB, HUB_LOGIN

Credentials = tuple[str, str]
"""User name and password or token."""

Lookup = Callable[[str], Credentials | None]
"""Registry -> credentials; None: ask without."""

HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
HELPER_TIMEOUT_S = 20


def no_credentials(registry: str) -> Credentials | None:  # noqa: ARG001  a Lookup
    """Ask every registry without credentials."""
    return None


def tool_credentials(environment: Mapping[str, str]) -> Lookup:
    """`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`, with its credential helpers."""
    folder = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '')}/.docker"
    try:
        config = json.loads((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError):
        return no_credentials
    return lambda registry: _find(config, registry) if isinstance(config, dict) else None


def _find(config: dict[str, Any], registry: str) -> Credentials | None:
    keys = [registry, f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/"]
    if registry == HUB:
        keys = [HUB_LOGIN, *keys]
    helpers = config.get("credHelpers")
    helpers = helpers if isinstance(helpers, dict) else {}
    for key in keys:
        name = helpers.get(key)
        if isinstance(name, str) and (found := _helper(name, key)):
            return found
    auths = config.get("auths")
    auths = auths if isinstance(auths, dict) else {}
    for key in keys:
        entry = auths.get(key)
        if isinstance(entry, dict) and (found := _decoded(entry)):
            return found
    store = config.get("credsStore")
    return _helper(store, keys[0]) if isinstance(store, str) else None


def _decoded(entry: dict[str, Any]) -> Credentials | None:
    try:
        text = base64.b64decode(str(entry.get("auth", "")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    return (user, password.rstrip("\0")) if colon and user else None


def _helper(name: str, registry: str) -> Credentials | None:
    if not HELPER_NAME.fullmatch(name):
        return None
    try:
        done = subprocess.run(
            [f"docker-credential-{name}", "get"],
            input=registry,
            capture_output=True,
            text=True,
            timeout=HELPER_TIMEOUT_S,
            check=True,
        )
        said = json.loads(done.stdout)
        return str(said["Username"]), str(said["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
