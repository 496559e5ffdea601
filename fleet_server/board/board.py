"""Every device as it stands, in memory: what lists, counters and streams are made of, without a question to the store.

Whoever changes something calls `touch` with the names, from any thread; once a second, and before a list is read,
`settle` reads those from the store again. What falls due by time alone is found by `settle` too. All rows live in the
event loop; reading the store and making rows is done in a thread. After a change of fleets, and every few minutes in
case that somebody forgot to touch, all of it is read again.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from starlette.concurrency import run_in_threadpool

from fleet_protocol.documents.fleet import FleetSpec
from fleet_server.board.row import Facts, Row, make_row
from fleet_server.store.api import Facts as StoreFacts
from fleet_server.store.records import Mark

CHUNK = 500
AGAIN_S = 300.0


class Board:
    """Rows by name. `epoch` names this process's run: versions of another one mean nothing here."""

    def __init__(self, store: StoreFacts, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._settling: asyncio.Lock = asyncio.Lock()
        self._read_all_at: float | None = None
        self._due: dict[str, int] = {}  # name -> when silence becomes overdue
        self.epoch = secrets.token_hex(6)
        self.version = 0
        self.rows: dict[str, Row] = {}
        self.changes: dict[str, int] = {}  # name -> version, oldest first; also of those that went
        self.fleets: Sequence[FleetSpec] = ()  # as they were when the rows were made

    def touch(self, names: Iterable[str]) -> None:
        """Something about these devices is different in the store."""
        with self._lock:
            self._touched.update(names)

    def changed_since(self, version: int) -> Iterator[str]:
        """Names whose rows changed after `version`, newest first."""
        for name in reversed(self.changes):
            if self.changes[name] <= version:
                return
            yield name

    async def settle(self) -> None:
        """Bring the rows up to date."""
        async with self._settling:
            now = self._clock()
            with self._lock:
                names, self._touched = self._touched, set()
            names |= {name for name, due in self._due.items() if due < now}
            fleets = await run_in_threadpool(self._store.fleets)
            first = self._read_all_at is None
            everything = first or now - (self._read_all_at or 0) > AGAIN_S or fleets != self.fleets
            try:
                if everything:
                    names |= {*await run_in_threadpool(self._active), *self.rows}
                self.fleets = fleets
                await self._read(sorted(names), now)
            except BaseException:
                self.touch(names)
                raise
            if everything:
                self._read_all_at = now

    def _active(self) -> list[str]:
        return [device.device_id for device in self._store.devices()]

    async def _read(self, names: list[str], now: float) -> None:
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            before = {name: self.rows[name] for name in part if name in self.rows}
            made = await run_in_threadpool(make_rows, self._store, part, self.fleets, int(now), before)
            self._take(part, made, now)

    def _take(self, names: Iterable[str], made: Mapping[str, Row], now: float) -> None:
        """A row that says the same as before is no change."""
        version = self.version + 1
        for name in names:
            row, before = made.get(name), self.rows.get(name)
            self._due.pop(name, None)
            if row is None:
                if self.rows.pop(name, None) is None:
                    continue
            else:
                if row.due_at >= now:  # what is overdue already stays so until it speaks
                    self._due[name] = row.due_at
                self.rows[name] = row
                if before is not None and before.encoded == row.encoded:
                    continue
            self.changes.pop(name, None)
            self.changes[name] = version
            self.version = version


def make_rows(
    store: StoreFacts, names: Sequence[str], fleets: Sequence[FleetSpec], now: int, before: Mapping[str, Row]
) -> dict[str, Row]:
    """Rows of those of `names` that are active devices."""
    contacts, reported, marks = store.contacts(names), store.reported_rows(names), store.marks(names)
    out: dict[str, Row] = {}
    for device in store.devices(names):
        name = device.device_id
        facts = Facts(device, contacts.get(name), reported.get(name), marks.get(name, Mark()))
        out[name] = make_row(facts, fleets, now, before.get(name))
    return out
