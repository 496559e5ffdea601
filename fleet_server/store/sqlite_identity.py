"""Tokens, enrolments, devices and operators in SQLite (`provisioning.authority.records.EnrolmentStore`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fleet_server.errors import StoreError
from fleet_server.store.records import Operator
from fleet_server.store.sqlite_base import Row, SqliteBase
from provisioning.authority.records import (
    Approval,
    DeviceRecord,
    EnrolmentRecord,
    RevokedCertificate,
    TokenRecord,
)


class SqliteIdentity(SqliteBase):
    """Who may come in, who came in, and who may not any more."""

    def add_token(self, token: TokenRecord) -> None:
        """Store a new token."""
        with self._writing():
            self._insert("tokens", asdict(token))

    def token(self, token_id: str) -> TokenRecord | None:
        """The token, spent and expired ones included, or None."""
        row = self._row("SELECT * FROM tokens WHERE token_id = ?", token_id)
        return _token(row) if row else None

    def tokens(self) -> list[TokenRecord]:
        """All tokens, newest first."""
        return [_token(row) for row in self._rows("SELECT * FROM tokens ORDER BY issued_at DESC, rowid DESC")]

    def admit(self, request: EnrolmentRecord, now: int) -> EnrolmentRecord | None:
        """Take one use of the request's token, if it has one left; a retry of the same key takes none."""
        with self._writing() as connection:
            same = self._row(
                "SELECT * FROM enrolments WHERE token_id = ? AND fingerprint = ?", request.token_id, request.fingerprint
            )
            if same:
                return _enrolment(same)
            taken = connection.execute(
                "UPDATE tokens SET uses_left = uses_left - 1 WHERE token_id = ? AND uses_left > 0 AND expires > ?",
                (request.token_id, now),
            )
            if taken.rowcount != 1:
                return None
            self._insert("enrolments", asdict(request))
        return request

    def enrolment(self, request_id: str) -> EnrolmentRecord | None:
        """One request, or None."""
        row = self._row("SELECT * FROM enrolments WHERE request_id = ?", request_id)
        return _enrolment(row) if row else None

    def enrolments(self) -> list[EnrolmentRecord]:
        """All requests, newest first."""
        return [_enrolment(row) for row in self._rows("SELECT * FROM enrolments ORDER BY asked_at DESC, rowid DESC")]

    def approve(self, request_id: str, device: DeviceRecord, by: str) -> Approval:
        """Insert the device and mark the request approved, in one transaction."""
        with self._writing() as connection:
            if self._row("SELECT 1 FROM enrolments WHERE request_id = ? AND status = 'pending'", request_id) is None:
                return Approval.NOT_PENDING
            if self._row("SELECT 1 FROM devices WHERE device_id = ?", device.device_id) is not None:
                return Approval.NAME_TAKEN
            self._insert("devices", _device_row(device))
            connection.execute(
                "UPDATE enrolments SET status = 'approved', device_id = ?, decided_at = ?, decided_by = ?"
                " WHERE request_id = ? AND status = 'pending'",
                (device.device_id, device.enrolled_at, by, request_id),
            )
        return Approval.DONE

    def reject(self, request_id: str, by: str, now: int) -> bool:
        """Mark a pending request rejected; False if it was not pending."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE enrolments SET status = 'rejected', decided_at = ?, decided_by = ?"
                " WHERE request_id = ? AND status = 'pending'",
                (now, by, request_id),
            )
        return done.rowcount == 1

    def device(self, device_id: str) -> DeviceRecord | None:
        """One device, revoked ones included, or None."""
        row = self._row("SELECT * FROM devices WHERE device_id = ?", device_id)
        return _device(row) if row else None

    def devices(self, device_ids: Sequence[str] | None = None) -> list[DeviceRecord]:
        """Every device that is not revoked, by name; or those of them that are named."""
        if device_ids is None:
            rows = self._rows("SELECT * FROM devices WHERE revoked_at IS NULL ORDER BY device_id")
        else:
            named = sorted(device_ids)
            rows = self._rows_in("SELECT * FROM devices WHERE revoked_at IS NULL AND device_id IN (?)", named)
        return [_device(row) for row in rows]

    def active_device_ids(self) -> list[str]:
        """Names of all devices that are not revoked, sorted."""
        rows = self._rows("SELECT device_id FROM devices WHERE revoked_at IS NULL ORDER BY device_id")
        return [row["device_id"] for row in rows]

    def replace_certificate(self, device_id: str, old_serial: int, renewed: DeviceRecord, now: int) -> bool:
        """Give an active device a new key and certificate, if its present one is `old_serial`."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE devices SET fingerprint = ?, public_pem = ?, certificate_pem = ?, certificate_serial = ?,"
                " certificate_expires = ? WHERE device_id = ? AND certificate_serial = ? AND revoked_at IS NULL",
                (
                    renewed.fingerprint, renewed.public_pem, renewed.certificate_pem, str(renewed.certificate_serial),
                    renewed.certificate_expires, device_id, str(old_serial),
                ),
            )  # fmt: skip
            if done.rowcount == 1:
                former = {"device_id": device_id, "serial": str(old_serial), "replaced_at": now}
                self._insert("former_certificates", former)
        return done.rowcount == 1

    def revoke(self, device_id: str, now: int) -> bool:
        """Mark an active device revoked; False if it is unknown or revoked already."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE devices SET revoked_at = ? WHERE device_id = ? AND revoked_at IS NULL", (now, device_id)
            )
        return done.rowcount == 1

    def revoked_certificates(self) -> list[RevokedCertificate]:
        """Every certificate, present or earlier, of every revoked device."""
        rows = self._rows(
            "SELECT certificate_serial AS serial, revoked_at FROM devices WHERE revoked_at IS NOT NULL"
            " UNION SELECT f.serial, d.revoked_at FROM former_certificates f JOIN devices d USING (device_id)"
            " WHERE d.revoked_at IS NOT NULL ORDER BY 2, 1"
        )
        return [RevokedCertificate(int(row["serial"]), row["revoked_at"]) for row in rows]

    def set_labels(self, device_id: str, labels: Mapping[str, str]) -> bool:
        """Replace an active device's labels; False if there is no such device."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE devices SET labels = ? WHERE device_id = ? AND revoked_at IS NULL",
                (_json(dict(labels)), device_id),
            )
        return done.rowcount == 1

    def add_operator(self, operator: Operator) -> None:
        """A new operator. Raises StoreError if the name was ever used."""
        with self._writing():
            if self._row("SELECT 1 FROM operators WHERE name = ?", operator.name):
                raise StoreError("the name was used before", element=operator.name)
            self._insert("operators", asdict(operator))

    def operator_by_token(self, token_sha256: str) -> Operator | None:
        """The operator with this token, unless revoked."""
        row = self._row("SELECT * FROM operators WHERE token_sha256 = ? AND revoked_at IS NULL", token_sha256)
        return _operator(row) if row else None

    def operators(self) -> list[Operator]:
        """All, revoked ones included, by name."""
        return [_operator(row) for row in self._rows("SELECT * FROM operators ORDER BY name")]

    def revoke_operator(self, name: str, now: int) -> bool:
        """False if unknown or revoked already."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE operators SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (now, name)
            )
        return done.rowcount == 1

    def _insert(self, table: str, row: Row) -> None:
        values = {key: _json(value) if isinstance(value, dict) else value for key, value in row.items()}
        self._writer.table(table).insert(values)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _device_row(device: DeviceRecord) -> Row:
    return {**asdict(device), "certificate_serial": str(device.certificate_serial)}


def _token(row: Row) -> TokenRecord:
    return TokenRecord(**{**row, "labels": _mapping(row["labels"]), "auto_approve": bool(row["auto_approve"])})


def _enrolment(row: Row) -> EnrolmentRecord:
    told = {"labels": _mapping(row["labels"]), "host": _mapping(row["host"]), "decided_by": row["decided_by"] or ""}
    return EnrolmentRecord(**{**row, **told})


def _device(row: Row) -> DeviceRecord:
    told = {"labels": _mapping(row["labels"]), "certificate_serial": int(row["certificate_serial"])}
    return DeviceRecord(**{**row, **told})


def _operator(row: Row) -> Operator:
    return Operator(**{**row, "scope": _mapping(row["scope"])})


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise StoreError("a column that holds a mapping holds something else")
    return value
