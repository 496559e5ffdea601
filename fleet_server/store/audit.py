"""The audit log's rows as links of the chain of `fleet_protocol.wire.audit_chain`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleet_protocol.wire import audit_chain
from fleet_protocol.wire.audit_chain import GENESIS
from fleet_server.store.records import AuditEntry, AuditRow

__all__ = ["GENESIS", "as_dict", "first_fault", "link"]


def link(seq: int, entry: AuditEntry, previous: str) -> AuditRow:
    """`entry` as row `seq` behind a row whose hash is `previous`."""
    row = AuditRow(seq, entry, previous, "")
    return AuditRow(seq, entry, previous, audit_chain.row_hash(as_dict(row)))


def as_dict(row: AuditRow) -> dict[str, Any]:
    """As it is hashed, shown and exported."""
    e = row.entry
    return {
        "seq": row.seq, "at": e.at, "who": e.who, "action": e.action, "element": e.element, "origin": e.origin,
        "why": e.why, "detail": dict(e.detail), "previous": row.previous, "hash": row.hash,
    }  # fmt: skip


def first_fault(rows: Iterable[AuditRow], heads: Mapping[int, str]) -> str | None:
    """What is wrong with a whole chain, in words, or None."""
    return audit_chain.first_fault(map(as_dict, rows), heads)
