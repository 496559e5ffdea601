"""Rollouts, quarantine and pins in SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleet_server.store.rollout_records import (
    DecisionRow,
    MemberRow,
    PinRow,
    QuarantineRow,
    RolloutRow,
    VerbRow,
    WatchedRow,
)
from fleet_server.store.sqlite_base import Row, SqliteBase

WATCHED = (
    "SELECT d.device_id, d.labels, c.last_seen, c.online, c.online_since, c.generation, r.received_at, r.document,"
    " s.generation, s.sha256, s.payload FROM devices d LEFT JOIN contacts c USING (device_id)"
    " LEFT JOIN reported r USING (device_id) LEFT JOIN desired s USING (device_id) WHERE d.revoked_at IS NULL"
)


class SqliteRollouts(SqliteBase):
    """What is being brought to whom, and how far it has come."""

    def rollouts(self, *, open_only: bool = False) -> list[RolloutRow]:
        """All, or those in which something may still happen by itself; the oldest first."""
        rows = self._rows("SELECT * FROM rollouts WHERE closed = 0 OR NOT ? ORDER BY seq", open_only)
        return [_rollout(row) for row in rows]

    def rollout(self, rollout_id: str) -> RolloutRow | None:
        """One."""
        row = self._row("SELECT * FROM rollouts WHERE rollout_id = ?", rollout_id)
        return _rollout(row) if row else None

    def newest_rollouts(self) -> list[RolloutRow]:
        """The newest of each app of each fleet."""
        rows = self._rows(
            "SELECT * FROM rollouts WHERE seq IN (SELECT max(seq) FROM rollouts GROUP BY fleet, app) ORDER BY seq"
        )
        return [_rollout(row) for row in rows]

    def members(self, rollout_id: str) -> list[MemberRow]:
        """Every device of a rollout, by name."""
        rows = self._rows("SELECT * FROM rollout_devices WHERE rollout_id = ? ORDER BY device_id", rollout_id)
        return [MemberRow(**row) for row in rows]

    def member_names(self, rollout_id: str, without: str) -> frozenset[str]:
        """Devices of a rollout in any phase but `without`."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT device_id FROM rollout_devices WHERE rollout_id = ? AND phase != ?", (rollout_id, without)
            )
            return frozenset(name for (name,) in found)

    def put_rollout(self, row: RolloutRow) -> None:
        """Insert it, or write down where it stands now; what it brings stays as it was."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO rollouts (rollout_id, fleet, app, created_at, change, record, state, closed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rollout_id) DO UPDATE SET record = excluded.record,"
                " state = excluded.state, closed = excluded.closed",
                (
                    row.rollout_id, row.fleet, row.app, row.created_at, row.change, row.record, row.state,
                    int(row.closed),
                ),
            )  # fmt: skip

    def put_members(self, rows: Iterable[MemberRow]) -> None:
        """Insert or replace."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO rollout_devices (rollout_id, device_id, phase, record, before) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (rollout_id, device_id) DO UPDATE SET phase = excluded.phase,"
                " record = excluded.record, before = excluded.before",
                [(r.rollout_id, r.device_id, r.phase, r.record, r.before) for r in rows],
            )

    def drop_members(self, rollout_id: str, device_ids: Iterable[str]) -> None:
        """These are no devices of the rollout any more."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM rollout_devices WHERE rollout_id = ? AND device_id = ?",
                [(rollout_id, name) for name in device_ids],
            )

    def put_verb(self, row: VerbRow) -> None:
        """Keep what was asked."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO rollout_verbs (rollout_id, seq, at, act, by, device_id, wave, reason, refused)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (row.rollout_id, row.seq, row.at, row.act, row.by, row.device_id, row.wave, row.reason, row.refused),
            )

    def verbs(self, rollout_id: str) -> list[VerbRow]:
        """What was asked of a rollout, in order."""
        rows = self._rows("SELECT * FROM rollout_verbs WHERE rollout_id = ? ORDER BY seq", rollout_id)
        return [VerbRow(**row) for row in rows]

    def put_decisions(self, rows: Iterable[DecisionRow]) -> None:
        """Append to the history."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT INTO rollout_decisions (rollout_id, at, kind, element, text) VALUES (?, ?, ?, ?, ?)",
                [(r.rollout_id, r.at, r.kind, r.element, r.text) for r in rows],
            )

    def decisions(self, rollout_id: str, limit: int) -> list[DecisionRow]:
        """The newest ones, oldest first."""
        rows = self._rows(
            "SELECT rollout_id, at, kind, element, text FROM rollout_decisions WHERE rollout_id = ?"
            " ORDER BY id DESC LIMIT ?",
            rollout_id, limit,
        )  # fmt: skip
        return [DecisionRow(**row) for row in reversed(rows)]

    def quarantines(self) -> list[QuarantineRow]:
        """Releases that nobody gets now."""
        return [QuarantineRow(**row) for row in self._rows("SELECT * FROM quarantines ORDER BY app, release")]

    def put_quarantine(self, row: QuarantineRow) -> None:
        """The first reason stays."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO quarantines (app, release, since, rollout_id, reason) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (row.app, row.release, row.since, row.rollout_id, row.reason),
            )

    def lift_quarantine(self, app: str, release: str) -> bool:
        """False if it was in none."""
        with self._writing() as connection:
            done = connection.execute("DELETE FROM quarantines WHERE app = ? AND release = ?", (app, release))
        return done.rowcount == 1

    def pins(self) -> list[PinRow]:
        """All, those that are over included."""
        return [PinRow(**row) for row in self._rows("SELECT * FROM pins ORDER BY device_id, app")]

    def put_pin(self, row: PinRow) -> None:
        """Insert or replace."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO pins (device_id, app, release, by, since, until, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (device_id, app) DO UPDATE SET release = excluded.release, by = excluded.by,"
                " since = excluded.since, until = excluded.until, reason = excluded.reason",
                (row.device_id, row.app, row.release, row.by, row.since, row.until, row.reason),
            )

    def drop_pin(self, device_id: str, app: str) -> bool:
        """False if there was none."""
        with self._writing() as connection:
            done = connection.execute("DELETE FROM pins WHERE device_id = ? AND app = ?", (device_id, app))
        return done.rowcount == 1

    def watched(self, device_ids: Sequence[str] | None = None) -> list[WatchedRow]:
        """All that is known of these devices, of all with None; revoked ones are left out."""
        with self._reading() as connection:
            if device_ids is None:
                return [WatchedRow(*row) for row in connection.execute(WATCHED)]
            out: list[WatchedRow] = []
            for part in self._chunks(list(device_ids)):
                sql = f"{WATCHED} AND d.device_id IN ({','.join('?' * len(part))})"
                out += [WatchedRow(*row) for row in connection.execute(sql, part)]
            return out


def _rollout(row: Row) -> RolloutRow:
    return RolloutRow(**{**row, "closed": bool(row["closed"])})
