"""All devices, the ones that match, and their order. Pure; answers what is to be painted again.

Fifty thousand rows are kept sorted: a change moves one row by bisection, and only a flood sorts anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tui.model.rows import DeviceRow
from tui.model.states import RANK

FLOOD = 2000

Key = tuple[object, str]
SORTS: dict[str, Callable[[DeviceRow], object]] = {
    "name": lambda _: 0,
    "state": lambda r: RANK.get(r.state, len(RANK)),
    "why": lambda r: r.why or "\uffff",
    "memory": lambda r: -(r.memory / r.memory_limit) if r.memory_limit > 0 else 1.0,
    "seen": lambda r: r.seen,
    "site": lambda r: r.site or "\uffff",
}
Keep = Callable[[DeviceRow], bool]


class Changes(NamedTuple):
    """What a batch did to the list as it is shown."""

    rows: frozenset[str] = frozenset()  # paint these again
    layout: bool = False  # number or order changed

    def __bool__(self) -> bool:
        return self.layout or bool(self.rows)


NOTHING = Changes()


class Roster:
    """Rows by name; `names` are those that match, in order."""

    def __init__(self) -> None:
        self.rows: dict[str, DeviceRow] = {}
        self.names: list[str] = []
        self.counts: dict[str, int] = {}
        self.sort = "name"
        self.longest = 0  # cells of the longest name so far
        self.revision = 0  # grows with every change of a row
        self._keep: Keep | None = None
        self._keys: list[Key] = []

    def replace(self, rows: Iterable[DeviceRow]) -> Changes:
        """The whole fleet anew."""
        fresh = {row.name: row for row in rows}
        gone = [name for name in self.rows if name not in fresh]
        return self.apply((row for name, row in fresh.items() if self.rows.get(name) != row), gone)

    def apply(self, changed: Iterable[DeviceRow], gone: Iterable[str] = ()) -> Changes:
        """Newer rows, and names of devices that are not there any more."""
        changed, gone = list(changed), [name for name in gone if name in self.rows]
        if not changed and not gone:
            return NOTHING
        self.revision += 1
        if len(changed) + len(gone) > FLOOD:
            for name in gone:
                self._uncount(self.rows.pop(name))
            for row in changed:
                self._put(row)
            self._arrange()
            return Changes(layout=True)
        layout, touched = False, set()
        for name in gone:
            old = self.rows.pop(name)
            self._uncount(old)
            layout = self._take_out(old) or layout
        for row in changed:
            before = self.rows.get(row.name)
            self._put(row)
            moved = self._move(before, row)
            layout = layout or moved
            if not moved and self._matches(row):
                touched.add(row.name)
        return Changes(frozenset(touched), layout)

    def arrange(self, *, sort: str | None = None, keep: Keep | None = None) -> None:
        """Another order, another filter (None: all)."""
        self.sort = sort or self.sort
        self._keep = keep
        self._arrange()

    def index(self, name: str) -> int | None:
        """Where a device stands in the list as it is shown."""
        row = self.rows.get(name)
        if row is None:
            return None
        place = bisect_left(self._keys, self._key(row))
        return place if place < len(self.names) and self.names[place] == name else None

    def _matches(self, row: DeviceRow) -> bool:
        return self._keep is None or self._keep(row)

    def _key(self, row: DeviceRow) -> Key:
        return SORTS[self.sort](row), row.name

    def _put(self, row: DeviceRow) -> None:
        before = self.rows.get(row.name)
        if before is not None:
            self._uncount(before)
        self.rows[row.name] = row
        self.longest = max(self.longest, len(row.name))
        self.counts[row.state] = self.counts.get(row.state, 0) + 1

    def _uncount(self, row: DeviceRow) -> None:
        self.counts[row.state] -= 1

    def _move(self, before: DeviceRow | None, row: DeviceRow) -> bool:
        """Whether the list itself changed."""
        had, has = before is not None and self._matches(before), self._matches(row)
        if had and has and before is not None and self._key(before) == self._key(row):
            return False
        if had and before is not None:
            self._take_out(before)
        if has:
            key = self._key(row)
            place = bisect_left(self._keys, key)
            self._keys.insert(place, key)
            self.names.insert(place, row.name)
        return had or has

    def _take_out(self, row: DeviceRow) -> bool:
        key = self._key(row)
        place = bisect_left(self._keys, key)
        if place < len(self._keys) and self._keys[place] == key:
            del self._keys[place], self.names[place]
            return True
        return False

    def _arrange(self) -> None:
        shown = self.rows.values() if self._keep is None else filter(self._keep, self.rows.values())
        self._keys = sorted(map(self._key, shown))
        self.names = [name for _, name in self._keys]
