"""What devices say, in SQLite: the ingest path. Plain `executemany`: twice as fast here as upserts through a helper."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from fleet_protocol.documents.device import Event
from fleet_server.store.records import Contact, EventBatch, Ingested, Mark, ReportedRow, StoredEvent
from fleet_server.store.sqlite_base import Row, SqliteBase

UPSERT_CONTACT = (
    "INSERT INTO contacts (device_id, last_seen, online, generation, sha256, online_since) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (device_id) DO UPDATE SET online_since = CASE WHEN online = 1 OR excluded.online = 0"
    " THEN online_since ELSE coalesce(excluded.online_since, online_since) END, online = excluded.online,"
    " last_seen = CASE WHEN excluded.last_seen IS NULL OR last_seen > excluded.last_seen"
    " THEN last_seen ELSE excluded.last_seen END,"
    " sha256 = CASE WHEN excluded.generation IS NULL THEN sha256 ELSE excluded.sha256 END,"
    " generation = coalesce(excluded.generation, generation)"
)
UPSERT_REPORTED = (
    "INSERT INTO reported (device_id, received_at, document) VALUES (?, ?, ?)"
    " ON CONFLICT (device_id) DO UPDATE SET received_at = excluded.received_at, document = excluded.document"
)
INSERT_EVENT = (
    "INSERT INTO events (device_id, spool, seq, received_at, document) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
NO_NUMBER = 2**62  # above every event's
UPSERT_SPOOL = (
    "INSERT INTO spools (device_id, spool, through) VALUES (?, ?, ?)"
    " ON CONFLICT (device_id, spool) DO UPDATE SET through = max(through, excluded.through)"
)


class SqliteSaid(SqliteBase):
    """Contacts, reported states and events."""

    def contacts(self, device_ids: Sequence[str] | None = None) -> dict[str, Contact]:
        """What each device last said; None: of all."""
        rows = self._rows_of("SELECT * FROM contacts", device_ids)
        return {row["device_id"]: _contact(row) for row in rows}

    def reported(self, device_id: str) -> ReportedRow | None:
        """The newest reported state of a device."""
        row = self._row("SELECT * FROM reported WHERE device_id = ?", device_id)
        return ReportedRow(**row) if row else None

    def reported_rows(self, device_ids: Sequence[str] | None = None) -> dict[str, ReportedRow]:
        """The same for many; None: for all."""
        rows = self._rows_of("SELECT * FROM reported", device_ids)
        return {row["device_id"]: ReportedRow(**row) for row in rows}

    def _rows_of(self, sql: str, device_ids: Sequence[str] | None) -> list[Row]:
        return (
            self._rows(sql) if device_ids is None else self._rows_in(f"{sql} WHERE device_id IN (?)", list(device_ids))
        )

    def platforms(self) -> dict[str, str]:
        """What each device says of its platform, in its newest report, else in its enrolment."""
        rows = self._rows(
            "SELECT device_id, json_extract(host, '$.platform') AS platform FROM enrolments WHERE device_id IS NOT NULL"
            " UNION ALL SELECT device_id, json_extract(CAST(document AS TEXT), '$.host.platform') FROM reported"
        )
        return {row["device_id"]: row["platform"] for row in rows if isinstance(row["platform"], str)}

    def events(self, device_id: str | None, limit: int, before: int | None = None) -> list[StoredEvent]:
        """Newest first, by arrival; only those whose number is below `before`."""
        end = NO_NUMBER if before is None else before
        if device_id is None:
            rows = self._rows("SELECT * FROM events WHERE id < ? ORDER BY id DESC LIMIT ?", end, limit)
        else:
            sql = "SELECT * FROM events WHERE device_id = ? AND id < ? ORDER BY id DESC LIMIT ?"
            rows = self._rows(sql, device_id, end, limit)
        return [_event(row) for row in rows]

    def events_after(self, device_id: str | None, number: int, limit: int) -> list[StoredEvent]:
        """Those that arrived later than the one with this number, oldest first."""
        if device_id is None:
            rows = self._rows("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", number, limit)
        else:
            sql = "SELECT * FROM events WHERE device_id = ? AND id > ? ORDER BY id LIMIT ?"
            rows = self._rows(sql, device_id, number, limit)
        return [_event(row) for row in rows]

    def spools(self) -> dict[tuple[str, str], int]:
        """(device, spool) -> the number through which every event is stored."""
        return {(row["device_id"], row["spool"]): row["through"] for row in self._rows("SELECT * FROM spools")}

    def ingest(self, batch: Ingested) -> dict[tuple[str, str], int]:
        """Store a batch in one transaction; for each spool in it, where that then stands."""
        with self._writing() as connection:
            connection.executemany(
                UPSERT_CONTACT,
                [
                    (c.device_id, c.last_seen, c.online, *_said(c), batch.at if c.online else None)
                    for c in batch.contacts
                ],
            )
            connection.executemany(UPSERT_REPORTED, [(r.device_id, r.received_at, r.document) for r in batch.reported])
            through = _spools_of(connection, batch.events)
            connection.executemany(
                INSERT_EVENT,
                [
                    (e.device_id, e.spool, event.seq, batch.at, event.model_dump_json(exclude_none=True).encode())
                    for e in batch.events
                    for event in e.events
                    # What was counted once is not stored again, also after it was pruned.
                    if event.seq > through[e.device_id, e.spool]
                ],
            )
            stands = {key: _extended(connection, *key, old) for key, old in through.items()}
            connection.executemany(UPSERT_SPOOL, [(*key, value) for key, value in stands.items()])
        return stands

    def skip_to(self, device_id: str, spool: str, through: int) -> int:
        """Declare that no event up to `through` will ever come; returns where the spool then stands."""
        with self._writing() as connection:
            stands = _extended(connection, device_id, spool, through)
            connection.execute(UPSERT_SPOOL, (device_id, spool, stands))
        return stands

    def prune_events(self, before: int, keep_per_device: int) -> int:
        """Remove old events and those above a device's share; never one that its spool has not counted yet."""
        with self._writing() as connection:
            done = connection.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM"
                " (SELECT id, device_id, spool, seq, received_at,"
                " row_number() OVER (PARTITION BY device_id ORDER BY id DESC) AS place FROM events) AS e"
                " JOIN spools USING (device_id, spool)"
                " WHERE e.seq <= spools.through AND (e.received_at < ? OR e.place > ?))",
                (before, keep_per_device),
            )
        return done.rowcount


def _spools_of(connection: sqlite3.Connection, batches: tuple[EventBatch, ...]) -> dict[tuple[str, str], int]:
    out: dict[tuple[str, str], int] = {}
    for batch in batches:
        key = (batch.device_id, batch.spool)
        if key not in out:
            row = connection.execute("SELECT through FROM spools WHERE device_id = ? AND spool = ?", key).fetchone()
            out[key] = row[0] if row else 0
    return out


def _extended(connection: sqlite3.Connection, device_id: str, spool: str, through: int) -> int:
    """The last number before the first gap."""
    rows = connection.execute(
        "SELECT seq FROM events WHERE device_id = ? AND spool = ? AND seq > ? ORDER BY seq", (device_id, spool, through)
    )
    for (seq,) in rows:
        if seq != through + 1:
            break
        through = seq
    return through


def _event(row: Row) -> StoredEvent:
    event = Event.model_validate_json(row["document"])
    return StoredEvent(row["device_id"], row["received_at"], event, row["id"])


def _said(contact: Contact) -> tuple[int | None, str | None]:
    return (contact.said.generation, contact.said.sha256) if contact.said else (None, None)


def _contact(row: Row) -> Contact:
    said = None if row["generation"] is None else Mark(row["generation"], row["sha256"])
    return Contact(row["device_id"], row["last_seen"], bool(row["online"]), said)
