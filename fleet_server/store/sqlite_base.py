"""The SQLite file: connections, locks, transactions.

One connection writes, one reads (WAL: a long list does not hold the ingest path up, nor the reverse). Each has a lock,
so every method may be called from any thread. `synchronous=FULL`: NORMAL loses acknowledged rows in a power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from fleet_server.errors import ReadOnlyError, StoreError
from fleet_server.store.schema import migrations

Row = dict[str, Any]
CHUNK = 500  # bound variables of one `IN (...)`


class SqliteBase:
    """Opens, migrates, reads and writes; the tables' own methods are in the classes built on this."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError if the file is not a store of ours; nothing is ever reset."""
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._writing_thread: int | None = None
        self._refuse = False
        self._only_reading = threading.local()
        try:
            self._writer = _connect(path)
            self._writer.enable_wal()
            self._writer.execute("PRAGMA synchronous=FULL")
            migrations.apply(self._writer)
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only=ON")
        except sqlite3.DatabaseError as error:
            raise StoreError(f"cannot be opened: {error}", element=path.name) from error

    def refuse_writes(self, refuse: bool) -> None:
        """While on, every write raises ReadOnlyError before it changes anything."""
        self._refuse = refuse

    @contextmanager
    def only_reading(self) -> Iterator[None]:
        """Inside, every write of this thread raises ReadOnlyError before it changes anything."""
        before = getattr(self._only_reading, "on", False)
        self._only_reading.on = True
        try:
            yield
        finally:
            self._only_reading.on = before

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written inside becomes durable together, or not at all."""
        with self._writing():
            yield

    def close(self) -> None:
        """No call may follow."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._refuse or getattr(self._only_reading, "on", False):
            raise ReadOnlyError("writes are refused while only a plan was asked for")
        with self._write_lock:
            outer, self._writing_thread = self._writing_thread, threading.get_ident()
            try:
                with self._writer.atomic() if outer else self._immediate():  # nested blocks become savepoints
                    yield self._writer.conn
            finally:
                self._writing_thread = outer

    @contextmanager
    def _immediate(self) -> Iterator[None]:
        """Takes the write lock before the first read: a transaction that reads and then wants to write cannot wait for
        another process's (`fleet-server operator` beside a running server), it fails at once."""
        connection = self._writer.conn
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def _rows(self, sql: str, *arguments: object) -> list[Row]:
        """Rows of a query; inside a transaction of this thread it sees what was written there."""
        if self._writing_thread == threading.get_ident():
            return list(self._writer.query(sql, list(arguments)))
        with self._read_lock:
            return list(self._reader.query(sql, list(arguments)))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The connection that `_rows` would use, for long lists."""
        if self._writing_thread == threading.get_ident():
            yield self._writer.conn
            return
        with self._read_lock:
            yield self._reader.conn

    def _row(self, sql: str, *arguments: object) -> Row | None:
        rows = self._rows(sql, *arguments)
        return rows[0] if rows else None

    def _rows_in(self, sql: str, keys: list[str]) -> list[Row]:
        """Rows of a query that ends with `IN (?)`, for any number of keys."""
        out: list[Row] = []
        for part in self._chunks(keys):
            out += self._rows(sql.replace("(?)", f"({','.join('?' * len(part))})"), *part)
        return out

    @staticmethod
    def _chunks(keys: list[str]) -> Iterator[list[str]]:
        """As many keys as one `IN (...)` takes."""
        for start in range(0, len(keys), CHUNK):
            yield keys[start : start + CHUNK]


def _connect(path: Path) -> Database:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    return Database(connection)
