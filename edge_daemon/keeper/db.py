"""keeper.db: what the keeper must remember over kills, power cuts and reboots. SQLite in WAL, synchronous=FULL.

What stands in it: the outbox of events (`outbox`), the accepted generation and its index, and what is known of apps and
services: last good, trials, quarantine, holds (`records`). It is not a trust floor: the floors are prepare's, in
trust.db. So when this file cannot be read, it is moved aside (never deleted), an alarm event is the first row of the
new one, and what runs is taken from the sealed generations on disk: a damaged notebook stops no container. The server
sees a new spool, whose numbers begin anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_daemon.keeper.errors import StateError
from fleet_protocol.wire.durable import rename_durably

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        seq INTEGER UNIQUE,
        at INTEGER NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
        app TEXT, service TEXT, text TEXT NOT NULL
    );
    CREATE INDEX unsent ON events (severity, id) WHERE seq IS NULL;
    CREATE TABLE apps (
        app TEXT PRIMARY KEY,
        updated TEXT NOT NULL DEFAULT '',
        good_revision TEXT NOT NULL DEFAULT '',
        good_seal TEXT NOT NULL DEFAULT '',
        good_release TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
    CREATE TABLE services (
        app TEXT NOT NULL, service TEXT NOT NULL, revision TEXT NOT NULL,
        started TEXT NOT NULL DEFAULT '', ended TEXT NOT NULL DEFAULT '', boot TEXT NOT NULL DEFAULT '',
        restarts INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
        oom_kills INTEGER NOT NULL DEFAULT 0, finished INTEGER, last_exit INTEGER,
        PRIMARY KEY (app, service)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE trials (
        app TEXT PRIMARY KEY,
        revision TEXT NOT NULL, boot TEXT NOT NULL, tries INTEGER NOT NULL, begun REAL NOT NULL,
        failed TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
    CREATE TABLE quarantine (
        app TEXT NOT NULL, revision TEXT NOT NULL,
        release TEXT NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL, at INTEGER NOT NULL,
        restarts INTEGER NOT NULL, oom_kills INTEGER NOT NULL, window_s INTEGER NOT NULL,
        PRIMARY KEY (app, revision)
    ) WITHOUT ROWID;
    CREATE TABLE holds (
        app TEXT PRIMARY KEY,
        revision TEXT NOT NULL, seal TEXT NOT NULL, release TEXT NOT NULL,
        until INTEGER NOT NULL, length INTEGER NOT NULL, boot TEXT NOT NULL, until_boottime REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE apps ADD COLUMN good_figures TEXT NOT NULL DEFAULT '';
    ALTER TABLE apps ADD COLUMN earlier_figures TEXT NOT NULL DEFAULT '';
    ALTER TABLE services ADD COLUMN exits INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE services ADD COLUMN failed_probes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE trials ADD COLUMN code TEXT NOT NULL DEFAULT '';
    ALTER TABLE trials ADD COLUMN unproven TEXT NOT NULL DEFAULT '';
    ALTER TABLE quarantine ADD COLUMN code TEXT NOT NULL DEFAULT '';
    ALTER TABLE quarantine ADD COLUMN exits INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE quarantine ADD COLUMN failed_probes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE quarantine ADD COLUMN figures TEXT NOT NULL DEFAULT '';
    """,
)


class KeeperDb:
    """An open keeper.db."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.DatabaseError when the file is no database, StateError when a newer keeper wrote it."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its companions get the same mode
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            self._open()
        except BaseException:
            self.connection.close()
            raise

    def _open(self) -> None:
        execute = self.connection.execute
        execute("PRAGMA cache_size = -256")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA journal_size_limit = 1048576")
        (checked,) = execute("PRAGMA quick_check(1)").fetchone()
        if checked != "ok":
            raise sqlite3.DatabaseError(str(checked))
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StateError(f"it was written by a newer version ({version})", element="keeper.db")
        for number in range(version, len(MIGRATIONS)):
            # executescript commits what is open before it, so the transaction is part of the script
            self.connection.executescript(f"BEGIN;{MIGRATIONS[number]};PRAGMA user_version = {number + 1};COMMIT;")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and durable when it ends. An inner one belongs to the outer."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def get(self, key: str) -> str | None:
        """One remembered text."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: str | None) -> None:
        """Remember it, or forget it."""
        if value is None:
            self.connection.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.connection.execute("REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def open_or_replace(path: Path, now: int) -> tuple[KeeperDb, str]:
    """The database, and "" or the sentence of what happened to the one before, for an alarm."""
    existed = path.exists()
    try:
        return KeeperDb(path), ""
    except sqlite3.OperationalError:
        raise  # no space, no permission: the file may be whole
    except sqlite3.DatabaseError as error:
        if not existed:
            raise
        aside = path.with_name(f"{path.name}.unreadable-{now}-{os.getpid()}")
        for suffix in ("-wal", "-shm"):
            companion = path.with_name(path.name + suffix)
            if companion.exists():
                rename_durably(companion, aside.with_name(aside.name + suffix))
        rename_durably(path, aside)
        return KeeperDb(path), f"keeper.db could not be read ({error}) and was moved to {aside.name}"
