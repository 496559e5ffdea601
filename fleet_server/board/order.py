"""Rows filtered and sorted: the order of a whole list, kept as rows change, and pages of it by cursor. Pure."""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from fleet_protocol.wire.where import SortKey, Value, Where, version_key
from fleet_server.board.row import CLOCKED, Row
from fleet_server.errors import BadRequestError

STATES = ("failed", "OVERDUE", "degraded", "held", "updating", "unknown", "quiet", "ok")
MAX_CURSOR = 2000

Key = tuple[Any, ...]


class Down:
    """Orders the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: Down) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Down) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(self.value)


class Query:
    """A filter and an order."""

    def __init__(self, where: Where, sort: tuple[SortKey, ...], scope: Mapping[str, str] | None = None) -> None:
        self.where = where
        self.sort = sort
        self._scope = dict(scope or {})
        self.clocked = bool(CLOCKED & {*where.fields(), *(key.field for key in sort)})

    def holds(self, row: Row, now: float) -> bool:
        """Whether a row is meant, and the caller's to see."""
        if self._scope and not self._scope.items() <= row.labels.items():
            return False
        return not self.where.terms or self.where.holds(row.look(now))

    def values(self, row: Row, now: float) -> list[Value | None]:
        """What the order looks at, the name last; None for what is not there."""
        look = row.look(now)
        return [*(next(iter(look(key.field)), None) for key in self.sort), row.device_id]

    def key(self, values: list[Value | None]) -> Key:
        """Compares as the order wants."""
        ranked = [
            Down(_rank(key.field, value)) if key.down else _rank(key.field, value)
            for key, value in zip(self.sort, values, strict=False)
        ]
        return (*ranked, values[-1])

    def mark(self) -> str:
        """Tells cursors of different queries apart."""
        said = f"{self.where}\n{','.join(map(str, self.sort))}\n{sorted(self._scope.items())}"
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def _rank(field: str, value: Value | None) -> Key:
    """Numbers, then words, then what is not there; states by how bad they are."""
    if value is None:
        return (3,)
    if isinstance(value, str):
        if field == "state":
            return (0, STATES.index(value))
        return (2, version_key(value)) if value[:1].isdigit() else (2, ((3, 0, value),))
    return (1, float(value))


class Order:
    """The rows that a query means, in its order. `update` costs as little as what changed."""

    def __init__(self, query: Query, rows: Iterable[Row], now: float) -> None:
        self.query = query
        self._keys: dict[str, Key] = {}
        for row in rows:
            if query.holds(row, now):
                self._keys[row.device_id] = query.key(query.values(row, now))
        self._sorted: list[Key] = sorted(self._keys.values())

    def __len__(self) -> int:
        return len(self._sorted)

    def names(self, offset: int, count: int) -> list[str]:
        """A part of the order."""
        return [key[-1] for key in self._sorted[offset : offset + count]]

    def update(self, name: str, row: Row | None, now: float) -> None:
        """A row changed, came, or (None) went."""
        old = self._keys.pop(name, None)
        if old is not None:
            del self._sorted[bisect.bisect_left(self._sorted, old)]
        if row is not None and self.query.holds(row, now):
            key = self.query.key(self.query.values(row, now))
            self._keys[name] = key
            bisect.insort(self._sorted, key)


def page(
    query: Query, rows: Iterable[Row], now: float, cursor: str | None, limit: int
) -> tuple[list[Row], str | None, int]:
    """At most `limit` rows behind the cursor, the next cursor, and how many rows match in all.

    The cursor names the last row's place in the order, not its number: rows that come, go or move elsewhere meanwhile
    make nobody be told twice or left out.
    """
    values = [(query.values(row, now), row) for row in rows if query.holds(row, now)]
    keyed = sorted(((query.key(said), said, row) for said, row in values), key=lambda item: item[0])
    start = 0
    if cursor is not None:
        start = bisect.bisect_right([key for key, _, _ in keyed], query.key(_read(query, cursor)))
    part = keyed[start : start + limit]
    more = start + limit < len(keyed)
    return [row for _, _, row in part], _written(query, part[-1][1]) if more else None, len(keyed)


def _written(query: Query, values: list[Value | None]) -> str:
    return base64.urlsafe_b64encode(json.dumps([query.mark(), *values]).encode()).decode().rstrip("=")


def _read(query: Query, cursor: str) -> list[Value | None]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        mark, *values = json.loads(text[:MAX_CURSOR])
    except (ValueError, RecursionError, TypeError) as error:
        raise BadRequestError("the cursor cannot be read", element=cursor[:40]) from error
    good = len(values) == len(query.sort) + 1 and isinstance(values[-1], str)
    fits = all(value is None or type(value) in (str, int, float) for value in values)
    states = [v for v, key in zip(values, query.sort, strict=False) if key.field == "state"]
    if mark != query.mark() or not good or not fits or any(v not in STATES for v in states):
        raise BadRequestError("the cursor belongs to another list", element=cursor[:40], hint="begin without it")
    return list(values)
