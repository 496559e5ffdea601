"""Events: kept until the server has them, and the newest for the host's own eyes.

An event gets its number when it is first sent, not when it happens. So the numbers that the server sees have no gap,
also when old and unimportant events had to be dropped unsent because the host was away for too long.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from edge_daemon.keeper.db import KeeperDb
from fleet_protocol.wire.bounds import MAX_EVENTS_BYTES, MAX_EVENTS_PER_MESSAGE
from fleet_protocol.wire.errors import inert

MAX_UNSENT = 10_000
DROP_AT_ONCE = 100
KEPT_FOR_LOOKING = 500
MAX_TEXT = 600
ROOM = MAX_EVENTS_BYTES - 4096  # for the message around them

COLUMNS = "id, seq, at, kind, severity, app, service, text"
DROPPED = "outbox.dropped"


class Event(NamedTuple):
    """One row."""

    id: int
    seq: int | None
    at: int
    kind: str
    severity: str
    app: str | None
    service: str | None
    text: str

    def fields(self) -> dict[str, object]:
        """As in fleet_protocol.documents.device.Event."""
        out: dict[str, object] = {"at": self.at, "kind": self.kind, "severity": self.severity, "text": self.text}
        if self.seq is not None:
            out["seq"] = self.seq
        if self.app is not None:
            out["app"] = self.app
        if self.service is not None:
            out["service"] = self.service
        return out


class Outbox:
    """The events of one keeper.db. `spool` is made with it; numbers count within it."""

    def __init__(self, db: KeeperDb, *, max_unsent: int = MAX_UNSENT) -> None:
        self._db = db
        self._max_unsent = max_unsent
        if db.get("spool") is None:
            db.put("spool", os.urandom(8).hex())
        self.reload()

    def reload(self) -> None:
        """Read the counters from the file: at the start, and after a write that failed."""
        db = self._db
        self.spool = db.get("spool") or ""
        self.through = int(db.get("through") or 0)  # acknowledged
        (last,) = db.connection.execute("SELECT max(seq) FROM events").fetchone()
        self.last_seq = max(self.through, last or 0)  # given out
        (self._unsent,) = db.connection.execute("SELECT count(*) FROM events WHERE seq IS NULL").fetchone()

    @property
    def pending(self) -> int:
        """How many the server does not have yet."""
        return int(self._unsent) + self.last_seq - self.through

    def add(
        self,
        at: int,
        kind: str,
        text: str,
        *,
        severity: str = "info",
        app: str | None = None,
        service: str | None = None,
    ) -> None:
        """Keep one event. Durable when this returns, or when the transaction around it ends."""
        with self._db.transaction():
            if self._unsent >= self._max_unsent:
                self._drop(at)
            self._db.connection.execute(
                "INSERT INTO events (at, kind, severity, app, service, text) VALUES (?, ?, ?, ?, ?, ?)",
                (at, kind, severity, app, service, inert(text)[:MAX_TEXT]),
            )
            self._unsent += 1

    def _drop(self, at: int) -> None:
        """Make room: the oldest of least weight go, and one event says how many have gone."""
        execute = self._db.connection.execute
        gone = 0
        for severity in ("info", "warn", "error"):
            gone += execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE seq IS NULL AND severity = ?"
                " AND kind != ? ORDER BY id LIMIT ?)",
                (severity, DROPPED, min(DROP_AT_ONCE, self._max_unsent) - gone),
            ).rowcount
            if gone >= min(DROP_AT_ONCE, self._max_unsent):
                break
        self._unsent -= gone
        row = execute("SELECT id, text FROM events WHERE seq IS NULL AND kind = ?", (DROPPED,)).fetchone()
        if row is None:
            execute(
                "INSERT INTO events (at, kind, severity, text) VALUES (?, ?, 'warn', ?)", (at, DROPPED, _dropped(gone))
            )
            self._unsent += 1
        else:
            execute(
                "UPDATE events SET text = ?, at = ? WHERE id = ?", (_dropped(gone + int(row[1].split()[0])), at, row[0])
            )

    def batch(self, after: int) -> list[Event]:
        """One message's worth of events above number `after`, numbered durably before they leave."""
        rows = self._select("seq > ? ORDER BY seq LIMIT ?", after, MAX_EVENTS_PER_MESSAGE)
        if len(rows) < MAX_EVENTS_PER_MESSAGE and self._unsent:
            new = self._select("seq IS NULL ORDER BY id LIMIT ?", MAX_EVENTS_PER_MESSAGE - len(rows))
            numbered = [row._replace(seq=self.last_seq + n) for n, row in enumerate(new, 1)]
            with self._db.transaction():
                self._db.connection.executemany(
                    "UPDATE events SET seq = ? WHERE id = ?", [(row.seq, row.id) for row in numbered]
                )
            self.last_seq += len(numbered)
            self._unsent -= len(numbered)
            rows += numbered
        return _fitting(rows)

    def acknowledge(self, spool: str, through: int) -> bool:
        """The server has everything up to `through`. False for another spool, or a number that was never given out."""
        if spool != self.spool or not self.through < through <= self.last_seq:
            return False
        with self._db.transaction():
            self._db.put("through", str(through))
            # What the server has is kept a while for `edge-daemon events`, and only the newest of it.
            self._db.connection.execute(
                "DELETE FROM events WHERE seq <= ? AND id <= (SELECT max(id) FROM events) - ?",
                (through, KEPT_FOR_LOOKING),
            )
        self.through = through
        return True

    def recent(self, count: int) -> list[Event]:
        """The newest, oldest of them first."""
        return self._select("1 ORDER BY id DESC LIMIT ?", max(0, count))[::-1]

    def _select(self, where: str, *values: object) -> list[Event]:
        rows = self._db.connection.execute(f"SELECT {COLUMNS} FROM events WHERE {where}", values)  # noqa: S608  ours
        return [Event(*row) for row in rows]


def _dropped(count: int) -> str:
    return f"{count} older events were dropped: the outbox was full before the server could be reached"


def _fitting(rows: list[Event]) -> list[Event]:
    """As many as one message holds; always the first."""
    room = ROOM
    for index, row in enumerate(rows):
        room -= len(json.dumps(row.fields(), ensure_ascii=False).encode()) + 1
        if room < 0 and index > 0:
            return rows[:index]
    return rows
