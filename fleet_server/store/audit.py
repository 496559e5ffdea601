"""The audit log's chain: each row's hash covers the row and the hash before it. Pure.

A change, a removal or a reordering inside the chain breaks it. Cutting rows off its end does not; that is what signed
heads are for (`fleet_server.audit_heads`): the chain must still contain every head that was ever written down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from fleet_protocol.wire import strict_json
from fleet_server.store.records import AuditEntry, AuditRow

GENESIS = "0" * 64


def link(seq: int, entry: AuditEntry, previous: str) -> AuditRow:
    """`entry` as row `seq` behind a row whose hash is `previous`."""
    body = strict_json.dumps(
        {
            "seq": seq,
            "at": entry.at,
            "who": entry.who,
            "action": entry.action,
            "element": entry.element,
            "detail": dict(entry.detail),
            "previous": previous,
        }
    )
    return AuditRow(seq, entry, previous, hashlib.sha256(body).hexdigest())


def first_fault(rows: Iterable[AuditRow], heads: Mapping[int, str]) -> str | None:
    """What is wrong with a whole chain, in words, or None. `heads` are the hashes that rows are known to have had."""
    previous, seq, last_head = GENESIS, 0, max(heads, default=0)
    for row in rows:
        seq += 1
        if row.seq != seq:
            return f"row {seq} is missing"
        if row != link(seq, row.entry, previous):
            return f"row {seq} was changed"
        if heads.get(seq, row.hash) != row.hash:
            return f"row {seq} is not the one whose head was signed"
        previous = row.hash
    if seq < last_head:
        return f"rows {seq + 1} to {last_head} were cut off"
    return None
