"""The audit log's chain: each row's hash covers the row and the hash before it. Pure, standard library.

A change, a removal or a reordering inside the chain breaks it. Cutting rows off its end does not; that is what heads
are for, hashes that rows are known to have had: signed ones of the server, and those that a reader remembers. The chain
must still contain every one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from fleet_protocol.wire import strict_json

GENESIS = "0" * 64
FIELDS = ("seq", "at", "who", "action", "element", "origin", "why", "detail", "previous")


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over the row's fields but `hash`, as compact JSON with sorted keys. Raises KeyError."""
    return hashlib.sha256(strict_json.dumps({key: row[key] for key in FIELDS})).hexdigest()


def first_fault(rows: Iterable[Mapping[str, Any]], heads: Mapping[int, str]) -> str | None:
    """What is wrong with a whole chain, in words, or None."""
    previous, seq, last_head = GENESIS, 0, max(heads, default=0)
    for row in rows:
        seq += 1
        if row.get("seq") != seq:
            return f"row {seq} is missing"
        if not _follows(row, previous):
            return f"row {seq} was changed"
        if heads.get(seq, row["hash"]) != row["hash"]:
            return f"row {seq} is not the one whose head was kept"
        previous = row["hash"]
    if seq < last_head:
        return f"rows {seq + 1} to {last_head} were cut off"
    return None


def _follows(row: Mapping[str, Any], previous: str) -> bool:
    try:
        return bool(row["previous"] == previous and row["hash"] == row_hash(row))
    except (KeyError, TypeError, ValueError):
        return False
