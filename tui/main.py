"""Starts the terminal UI on this machine's contexts. Importing this loads Textual: only `fleet ui` does."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from fleet_client import contexts
from fleet_protocol.wire.durable import replace_durably
from tui.model.states import SYMBOLS
from tui.model.world import Remembered
from tui.source.server import ServerSource
from tui.term.app import FleetApp
from tui.term.sheet import Look
from tui.term.shell import Server
from tui.term.skins import SKINS, choose, needs_ascii

MOST_REMEMBERED_BYTES = 4096


class LocalMachine:
    """The configuration's contexts, the clock, and a small cache."""

    def contexts(self) -> list[dict[str, Any]]:
        """All, as rows."""
        return contexts.listed()

    def server(self, name: str) -> Server:
        """One of them, "" for the current one. Raises ContextError."""
        found = contexts.load(name or None)
        return Server(found.name, found.environment, found.server, lambda: ServerSource(found))

    def remembered(self, context: str) -> Remembered:
        """What the last session saw; nothing, if that cannot be read."""
        try:
            text = _cache(context).read_bytes()[:MOST_REMEMBERED_BYTES]
            said = json.loads(text)
            return Remembered(int(said["at"]), {s: int(said["counts"].get(s, 0)) for s in SYMBOLS})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Remembered()

    def remember(self, context: str, what: Remembered) -> None:
        """A cache that cannot be written is no loss."""
        path = _cache(context)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_durably(path, json.dumps({"at": what.at, "counts": dict(what.counts)}).encode())
        except OSError:
            return

    def now(self) -> float:
        """Unix seconds."""
        return time.time()


def run(context: str | None, *, skin: str | None, ascii_only: bool, fps: float) -> None:
    """Until the person leaves. Raises ContextError before the screen is touched."""
    machine = LocalMachine()
    server = machine.server(context or "")
    environment = dict(os.environ)
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    look = Look(SKINS[choose(skin, environment)], ascii_only=ascii_only or needs_ascii(environment))
    FleetApp(machine, server, look, fps=fps).run()


def _cache(context: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "roadstead" / f"ui-{re.sub(r'[^A-Za-z0-9_-]', '_', context)}.json"
