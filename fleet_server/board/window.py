"""What one screen is shown: the window's rows as they change, told so that nothing waits in a queue.

A view remembers what its screen knows (order, and the board's version). Whoever is slow is not sent what was missed:
the next message says what is different from what the screen knows by then. So nothing grows, however slow it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from fleet_protocol.documents.stream import WindowRequest
from fleet_protocol.wire.where import parse_sort, parse_where
from fleet_server.board.board import Board
from fleet_server.board.order import Order, Query

CLOCK_S = 5.0
"""A filter that looks at the clock is held against all rows again this often."""


class View:
    """One screen's window. `tell` gives the body of the next `window` message, or None when nothing is new."""

    def __init__(self, board: Board, scope: Mapping[str, str]) -> None:
        self._board = board
        self._scope = scope
        self._order: Order | None = None
        self._ordered_at = 0.0  # when all rows were held against the filter
        self._followed = 0  # the version up to which the order is right
        self._asked = WindowRequest()
        self._query = Query(parse_where(""), (), scope)
        # What the screen knows: nothing at first.
        self._version: int | None = None
        self._have: frozenset[str] = frozenset()
        self._shown: tuple[int, int, list[str]] | None = None  # offset, matching, names

    def ask(self, asked: WindowRequest) -> None:
        """Another window from now on. Raises WhereError, and then all is as before."""
        query = Query(parse_where(asked.where), parse_sort(asked.sort), self._scope)
        if (query.where, query.sort) != (self._query.where, self._query.sort):
            self._order = None
        self._asked, self._query = asked, query

    def forget(self) -> None:
        """The screen is told all of it anew."""
        self._version, self._have, self._shown = None, frozenset(), None

    def resume(self, mark: str, now: float) -> bool:
        """Go on from a mark of an earlier connection. False if that is not possible: what it showed is unknown."""
        epoch, _, rest = mark.partition(".")
        version, _, shown = rest.partition(".")
        order = self._follow(now)
        names = order.names(self._asked.offset, self._asked.count)
        if epoch != self._board.epoch or not version.isdecimal() or len(version) > 15 or shown != _hash(names):
            return False
        self._version, self._have, self._shown = int(version), frozenset(names), (self._asked.offset, len(order), names)
        return True

    def mark(self) -> str:
        """Names what the screen knows, for `resume`."""
        names = self._shown[2] if self._shown else []
        return f"{self._board.epoch}.{self._version or 0}.{_hash(names)}"

    def tell(self, now: float) -> bytes | None:
        """The difference between what is and what the screen knows."""
        order = self._follow(now)
        names = order.names(self._asked.offset, self._asked.count)
        elsewhere = sorted(set(self._asked.marked) - set(names))
        rows, marked = self._news(names), self._news(elsewhere)
        full, shown = self._version is None, (self._asked.offset, len(order), names)
        before, self._version, self._shown = self._shown, self._board.version, shown
        self._have = frozenset((*names, *elsewhere))
        if not full and not rows and not marked and shown == before:
            return None
        parts = [b'{"full":%s,"offset":%d,"matching":%d' % (b"true" if full else b"false", shown[0], shown[1])]
        if before is None or before[2] != names or before[0] != shown[0]:
            parts.append(b',"order":[%s]' % b",".join(b'"%s"' % name.encode() for name in names))
        parts.append(b',"rows":[%s],"marked":[%s]}' % (b",".join(rows), b",".join(marked)))
        return b"".join(parts)

    def _news(self, names: Iterable[str]) -> list[bytes]:
        """Rows that the screen does not have as they are. What lies outside of the scope is not there."""
        rows, changes, version = self._board.rows, self._board.changes, self._version
        return [
            row.encoded
            for name in names
            if (row := rows.get(name)) is not None
            and (version is None or name not in self._have or changes[name] > version)
            and self._scope.items() <= row.labels.items()
        ]

    def _follow(self, now: float) -> Order:
        board = self._board
        stale = self._query.clocked and now - self._ordered_at >= CLOCK_S
        if self._order is None or stale:
            self._order, self._ordered_at = Order(self._query, board.rows.values(), now), now
        else:
            for name in board.changed_since(self._followed):
                self._order.update(name, board.rows.get(name), now)
        self._followed = board.version
        return self._order


def _hash(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
