"""Fleets, desired states, values, images and the audit log in SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleet_protocol.documents.fleet import FleetSpec
from fleet_server.store import audit
from fleet_server.store.records import AuditEntry, AuditRow, DesiredRow, ManifestRow, Mark
from fleet_server.store.sqlite_base import Row, SqliteBase

AUDIT_PAGE = 1000


class SqliteIntentions(SqliteBase):
    """What shall be, and who said so."""

    def fleets(self) -> list[FleetSpec]:
        """Every fleet, by name."""
        return [FleetSpec.parse(row["document"]) for row in self._rows("SELECT document FROM fleets ORDER BY name")]

    def put_fleets(self, changed: Iterable[FleetSpec], removed: Iterable[str]) -> None:
        """Insert or replace fleets, and remove others."""
        with self._writing() as connection:
            connection.executemany("DELETE FROM fleets WHERE name = ?", [(name,) for name in removed])
            connection.executemany(
                "INSERT INTO fleets (name, document) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET document = excluded.document",
                [(fleet.name, fleet.to_bytes()) for fleet in changed],
            )

    def desired(self, device_id: str) -> DesiredRow | None:
        """The newest desired state of a device."""
        row = self._row("SELECT * FROM desired WHERE device_id = ?", device_id)
        return DesiredRow(**row) if row else None

    def desired_rows(self, device_ids: Sequence[str] | None = None) -> dict[str, DesiredRow]:
        """The same for many; None: for all."""
        if device_ids is None:
            rows = self._rows("SELECT * FROM desired")
        else:
            rows = self._rows_in("SELECT * FROM desired WHERE device_id IN (?)", list(device_ids))
        return {row["device_id"]: DesiredRow(**row) for row in rows}

    def marks(self, device_ids: Sequence[str]) -> dict[str, Mark]:
        """Generation and hash of the desired state of each of these that is an active device."""
        rows = self._rows_in(
            "SELECT d.device_id, s.generation, s.sha256 FROM devices d LEFT JOIN desired s USING (device_id)"
            " WHERE d.revoked_at IS NULL AND d.device_id IN (?)",
            list(device_ids),
        )
        return {row["device_id"]: Mark(row["generation"] or 0, row["sha256"]) for row in rows}

    def put_desired(self, rows: Sequence[DesiredRow], expected: Mapping[str, int]) -> bool:
        """Store desired states if every device still has the generation in `expected` (0: none), else nothing."""
        with self._writing() as connection:
            now = self._rows_in("SELECT device_id, generation FROM desired WHERE device_id IN (?)", list(expected))
            have = {row["device_id"]: row["generation"] for row in now}
            if any(have.get(device_id, 0) != generation for device_id, generation in expected.items()):
                return False
            connection.executemany(
                "INSERT INTO desired (device_id, generation, sha256, payload, envelope, issued_at, expires)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE SET generation = excluded.generation,"
                " sha256 = excluded.sha256, payload = excluded.payload, envelope = excluded.envelope,"
                " issued_at = excluded.issued_at, expires = excluded.expires",
                [(r.device_id, r.generation, r.sha256, r.payload, r.envelope, r.issued_at, r.expires) for r in rows],
            )
        return True

    def value(self, sha256: str) -> bytes | None:
        """A configuration value above 1 KiB."""
        row = self._row("SELECT data FROM config_values WHERE sha256 = ?", sha256)
        return bytes(row["data"]) if row else None

    def put_value(self, sha256: str, data: bytes) -> None:
        """Keep a value; the same one twice is one."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO config_values (sha256, data) VALUES (?, ?) ON CONFLICT DO NOTHING", (sha256, data)
            )

    def manifest(self, app: str, reference: str) -> ManifestRow | None:
        """A manifest by digest or tag."""
        row = self._row(
            "SELECT * FROM manifests WHERE app = ? AND digest ="
            " coalesce((SELECT digest FROM tags WHERE app = ? AND tag = ?), ?)",
            app, app, reference, reference,
        )  # fmt: skip
        return ManifestRow(**row) if row else None

    def put_manifest(self, row: ManifestRow, tag: str | None) -> None:
        """Keep a manifest's row, and let `tag` point to it."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO manifests (app, digest, media_type, size) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (app, digest) DO UPDATE SET media_type = excluded.media_type",
                (row.app, row.digest, row.media_type, row.size),
            )
            if tag is not None:
                connection.execute(
                    "INSERT INTO tags (app, tag, digest) VALUES (?, ?, ?)"
                    " ON CONFLICT (app, tag) DO UPDATE SET digest = excluded.digest",
                    (row.app, tag, row.digest),
                )

    def tags(self, app: str) -> list[str]:
        """Tags of an app's repository, sorted."""
        return [row["tag"] for row in self._rows("SELECT tag FROM tags WHERE app = ? ORDER BY tag", app)]

    def record(self, entry: AuditEntry) -> AuditRow:
        """Append to the audit log."""
        with self._writing() as connection:
            seq, previous = self.audit_head()
            row = audit.link(seq + 1, entry, previous)
            connection.execute(
                "INSERT INTO audit (seq, at, who, action, element, detail, previous, hash, origin, why)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.seq, entry.at, entry.who, entry.action, entry.element,
                    json.dumps(dict(entry.detail), sort_keys=True), row.previous, row.hash,
                    entry.origin, entry.why,
                ),
            )  # fmt: skip
        return row

    def audit_rows(self) -> Iterator[AuditRow]:
        """The whole chain, oldest first."""
        after = -1
        while page := self.audit_after(after, AUDIT_PAGE):
            yield from page
            after = page[-1].seq

    def audit_after(self, seq: int, limit: int) -> list[AuditRow]:
        """Rows behind this one, oldest first."""
        rows = self._rows("SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)
        return [_audit_row(row) for row in rows]

    def audit_before(self, seq: int, limit: int) -> list[AuditRow]:
        """Rows ahead of this one, newest first."""
        rows = self._rows("SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?", seq, limit)
        return [_audit_row(row) for row in rows]

    def audit_head(self) -> tuple[int, str]:
        """Number and hash of the last row; (0, 64 zeros) of an empty log."""
        row = self._row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        return (row["seq"], row["hash"]) if row else (0, audit.GENESIS)


def _audit_row(row: Row) -> AuditRow:
    said = (row["at"], row["who"], row["action"], row["element"], json.loads(row["detail"]), row["origin"], row["why"])
    entry = AuditEntry(*said)
    return AuditRow(row["seq"], entry, row["previous"], row["hash"])
