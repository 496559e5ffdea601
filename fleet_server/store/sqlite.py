"""The store in one SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_server.store.sqlite_identity import SqliteIdentity
from fleet_server.store.sqlite_intentions import SqliteIntentions
from fleet_server.store.sqlite_rollouts import SqliteRollouts
from fleet_server.store.sqlite_said import SqliteSaid

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_server.store.api import Store


class SqliteStore(SqliteIdentity, SqliteIntentions, SqliteRollouts, SqliteSaid):
    """Implements `fleet_server.store.api.Store`."""


def open_store(path: Path) -> Store:
    """The store in `path`, made if it is not there. Raises StoreError if the file is something else."""
    # Tokens' secrets are in it; SQLite gives its companions the same permissions.
    path.touch(mode=0o600)
    return SqliteStore(path)
