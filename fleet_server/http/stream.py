"""The one stream that a screen lives on: server-sent events over the board (docs/api.md).

No message waits for a slow client: each is made when the one before is out, from what is by then. A client that took
longer than LATE_S for one is told everything anew, one that takes longer than DEAD_S is hung up on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fleet_protocol.documents.stream import Hello, WindowRequest
from fleet_server.board.board import Board
from fleet_server.board.row import Row
from fleet_server.board.summary import causes, counters, fleet_lines
from fleet_server.board.window import View
from fleet_server.errors import NotFoundError, TooManyRequestsError
from fleet_server.http.gate import Caller
from fleet_server.version import VERSION

TICK_S = 1.0
LATE_S = 10.0
DEAD_S = 60.0
MAX_STREAMS = 200
MAX_STREAMS_EACH = 10
SUMMARY_EVERY = 2  # ticks between looks at causes and fleets

log = logging.getLogger("roadstead.stream")


class Streams:
    """All that are open, and what they share: the board is settled once a second while anybody looks."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self.board = board
        self.clock = clock
        self.closing: Callable[[], bool] = lambda: False  # whether the server is about to end
        self._open: dict[str, Stream] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._tick = asyncio.Condition()
        self._summaries: dict[tuple[object, ...], tuple[int, bytes]] = {}

    def open(self, caller: Caller, asked: WindowRequest, last: str) -> Stream:
        """A new one. Raises TooManyRequestsError, WhereError."""
        mine = sum(stream.caller.name == caller.name for stream in self._open.values())
        if len(self._open) >= MAX_STREAMS or mine >= MAX_STREAMS_EACH:
            raise TooManyRequestsError("too many streams are open", element=caller.name, retry=True)
        view = View(self.board, caller.scope)
        view.ask(asked)
        return Stream(self, caller, view, last)

    def find(self, ident: str, caller: Caller) -> Stream:
        """One of the caller's own. Raises NotFoundError."""
        found = self._open.get(ident)
        if found is None or found.caller.name != caller.name:
            raise NotFoundError("there is no such stream, or not any more", element=ident[:40], retry=True)
        return found

    def joined(self, stream: Stream) -> None:
        """From now on it is ticked."""
        self._open[stream.ident] = stream
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._run(), name="streams")

    def left(self, stream: Stream) -> None:
        """It is no more."""
        self._open.pop(stream.ident, None)

    async def next_tick(self) -> None:
        """Waits until the board was settled once more."""
        async with self._tick:
            await self._tick.wait()

    async def hurry(self) -> None:
        """Everybody looks at once: a window was changed."""
        async with self._tick:
            self._tick.notify_all()

    def summary(self, kind: str, caller: Caller, make: Callable[[Iterable[Row]], BaseModel]) -> bytes:
        """Encoded once for all that have the same scope and the same board."""
        key = (kind, *sorted(caller.scope.items()))
        known = self._summaries.get(key)
        if known is None or known[0] != self.board.version:
            rows = [row for row in self.board.rows.values() if caller.sees(row.labels)]
            known = (self.board.version, make(rows).model_dump_json(by_alias=True).encode())
            if len(self._summaries) > MAX_STREAMS:
                self._summaries.clear()
            self._summaries[key] = known
        return known[1]

    async def _run(self) -> None:
        while self._open:
            try:
                await self.board.settle()
            except Exception:  # the screens are told of their age; the next look may do
                log.exception("the board cannot be settled")
            async with self._tick:
                self._tick.notify_all()
            await asyncio.sleep(TICK_S)


class Stream(Response):
    """One client's."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, caller: Caller, view: View, last: str) -> None:
        super().__init__()
        self.ident = secrets.token_hex(8)
        self.caller = caller
        self.view = view
        self._streams = streams
        self._last = last
        self._told: dict[str, bytes] = {}
        self._ticks = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI)
        """Sends until the client is gone, or too slow, or the server ends."""
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        self._streams.joined(self)
        gone = asyncio.create_task(_gone(receive))
        work = asyncio.create_task(self._work(send, headers))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.left(self)
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def _work(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._streams.board.settle()
        clock = asyncio.get_running_loop().time
        resumed = self.view.resume(self._last, self._streams.clock())
        await self._send(send, self._hello(resumed))
        while True:
            begun = clock()
            for message in self._messages():
                await self._send(send, message)
            if clock() - begun > LATE_S:
                self.view.forget()
                self._told.clear()
                continue
            await self._streams.next_tick()
            if self._streams.closing():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return

    async def _send(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(DEAD_S):
            await send({"type": "http.response.body", "body": data, "more_body": True})

    def _hello(self, resumed: bool) -> bytes:
        now = int(self._streams.clock())
        hello = Hello(stream=self.ident, server_version=VERSION, at=now, resumed=resumed)
        return b"retry: 2000\n" + _event(b"hello", hello.model_dump_json(by_alias=True).encode())

    def _messages(self) -> Iterable[bytes]:
        streams, board = self._streams, self._streams.board
        now = streams.clock()
        yield self._counters(int(now))
        if self._ticks % SUMMARY_EVERY == 0:
            names = [f.name for f in board.fleets if self._touches(f.select)]
            yield from self._if_new(b"causes", streams.summary("causes", self.caller, causes))
            lines = streams.summary("fleets", self.caller, lambda rows: fleet_lines(names, rows))
            yield from self._if_new(b"fleets", lines)
        self._ticks += 1
        window = self.view.tell(now)
        if window is not None:
            yield _event(b"window", window, self.view.mark().encode())

    def _counters(self, now: int) -> bytes:
        told = self._streams.summary("counters", self.caller, lambda rows: counters(rows, 0))
        return _event(b"counters", told.replace(b'"at":0', b'"at":%d' % now, 1))

    def _touches(self, select: dict[str, str]) -> bool:
        return all(select.get(key, value) == value for key, value in self.caller.scope.items())

    def _if_new(self, name: bytes, data: bytes) -> Iterable[bytes]:
        if self._told.get(name.decode()) != data:
            self._told[name.decode()] = data
            yield _event(name, data)


def _event(name: bytes, data: bytes, ident: bytes = b"") -> bytes:
    """One message; JSON has no line breaks of its own."""
    return b"event: %s\n%sdata: %s\n\n" % (name, b"id: %s\n" % ident if ident else b"", data)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
