"""The engineer's trust directory, as far as quick commands need it: no library is loaded here."""

from __future__ import annotations

from pathlib import Path

from fleet_client.contexts import config_path

JOINED = "1.root.json"


def trust_directory() -> Path:
    """`trust/` beside the contexts. Keys lie here; back it up off-line."""
    return config_path().parent / "trust"


def known_root() -> bytes | None:
    """Root version 1 as this machine knows it, made or joined; None if it knows none."""
    path = trust_directory() / JOINED
    return path.read_bytes() if path.is_file() else None
