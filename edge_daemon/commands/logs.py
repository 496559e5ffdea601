"""`edge-daemon logs APP [SERVICE]`: what a container wrote, also its earlier runs as far as they are kept.

The daemon hands over the open files, so that members of the socket's group can read them. Works without any server.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from edge_daemon.commands.lengths import LengthError, seconds
from edge_daemon.keeper.errors import NotRunningError
from edge_daemon.keeper.local_client import ask_for_files
from fleet_protocol.wire.errors import Exit, RoadsteadError, inert

MAX_TAIL_BYTES = 1 << 20
MAX_LINE = 64 * 1024
POLL_S = 0.25
ASK_AGAIN_S = 2.0


class LogError(RoadsteadError):
    """A container's log cannot be read."""

    phase = "reading a log"
    component = "edge-daemon"
    code = "E0642"
    exit_status = Exit.NOT_FOUND


class Line(NamedTuple):
    """One line that a container wrote; `at` as conmon wrote it (RFC 3339)."""

    at: str
    stream: str
    text: str


def run(args: argparse.Namespace) -> int:
    """Exit 0 with its lines; 8 when no daemon runs; with -f it goes on until it is interrupted."""
    since = None if args.since is None else begin(args.since, time.time())
    told, files = ask_for_files(args.run_dir, {"ask": "logs", "app": args.app, "service": args.service})
    try:
        if not files:
            raise LogError("has not written anything yet", element=f"{args.app}/{told['service']}")
        start = os.fstat(files[0]).st_size
        lines = tail(files, args.lines, since)
        if args.output == "json" and not args.follow:
            shown = [line._asdict() for line in lines]
            print(json.dumps({"app": args.app, "service": told["service"], "lines": shown}, sort_keys=True))
            return Exit.OK
        for line in lines:
            _print(line, args.output)
    finally:
        for file in files[1:]:
            os.close(file)
    if args.follow:
        follower = Follower(args, files[0], start)
        for line in follower.lines():
            _print(line, args.output)
    return Exit.OK


def _print(line: Line, output: str) -> None:
    print(json.dumps(line._asdict(), sort_keys=True) if output == "json" else inert(line.text), flush=True)


def begin(text: str, now: float) -> float:
    """Seconds since 1970 of `10m` (ago) or of `2026-03-01T12:00:00Z`. Raises LengthError."""
    try:
        moment = dt.datetime.fromisoformat(text)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return now - seconds(text)
    except LengthError:
        hint = "for example 10m, 2h, 1d, or 2026-03-01T12:00:00Z"
        raise LengthError(f"{text[:30]!r} is neither a length of time nor a moment", hint=hint) from None


def written(line: Line) -> float:
    """When, in seconds since 1970; 0 when it cannot be read."""
    try:
        whole, _, rest = line.at.partition(".")
        zone = rest.lstrip("0123456789")
        fraction = rest[: len(rest) - len(zone)][:6]
        return dt.datetime.fromisoformat(f"{whole}.{fraction or '0':<06}{zone}").timestamp()
    except ValueError:
        return 0.0


def tail(files: list[int], count: int, since: float | None = None) -> list[Line]:
    """The last lines of conmon's log (k8s-file: time, stream, F for a whole line or P for a part, text).

    Where they are too few, those of the file that was put aside before come first.
    """
    kept = _lines(files[0])
    if len(kept) < count and len(files) > 1:
        kept = _lines(files[1]) + kept
    if since is not None:
        kept = [line for line in kept if written(line) >= since]
    return kept[-count:] if count > 0 else []


def _lines(file: int) -> list[Line]:
    size = os.fstat(file).st_size
    data = os.pread(file, MAX_TAIL_BYTES, max(0, size - MAX_TAIL_BYTES))
    lines = data.decode("utf-8", "replace").split("\n")[:-1]  # what follows the last end of a line is being written
    if size > MAX_TAIL_BYTES:
        del lines[0]  # cut by our own bound
    joiner = Joiner()
    return [line for text in lines for line in joiner.feed(text)] + joiner.rest()


class Joiner:
    """Lines that were written down in parts, as one."""

    def __init__(self) -> None:
        self._begun: dict[str, Line] = {}

    def feed(self, text: str) -> Iterator[Line]:
        """One line of the file; what of it is whole."""
        parts = text.split(" ", 3)
        if len(parts) != 4:
            return
        at, stream, tag, said = parts
        begun = self._begun.pop(stream, None)
        line = Line(at, stream, (begun.text if begun else "") + said)
        if tag == "P" and len(line.text) < MAX_LINE:
            self._begun[stream] = line
        else:
            yield line

    def rest(self) -> list[Line]:
        """What has no end yet."""
        return list(self._begun.values())


class Follower:
    """What is written from now on, over restarts of the container, of the daemon, and a full log that begins anew."""

    def __init__(self, args: argparse.Namespace, file: int, position: int) -> None:
        self._request: dict[str, Any] = {"ask": "logs", "app": args.app, "service": args.service}
        self._run_dir = args.run_dir
        self._file = file
        self._position = position
        self._joiner = Joiner()
        self._rest = b""

    def lines(self) -> Iterator[Line]:
        """Never ends by itself."""
        asked_at = time.monotonic()
        while True:
            yield from self._new()
            if os.fstat(self._file).st_nlink == 0 or time.monotonic() >= asked_at + ASK_AGAIN_S:
                asked_at = time.monotonic()
                yield from self._look_for_another()
            time.sleep(POLL_S)

    def _new(self) -> Iterator[Line]:
        if os.fstat(self._file).st_size < self._position:
            self._position, self._rest = 0, b""
        while data := os.pread(self._file, MAX_TAIL_BYTES, self._position):
            self._position += len(data)
            *whole, self._rest = (self._rest + data).split(b"\n")
            for text in whole:
                yield from self._joiner.feed(text.decode("utf-8", "replace"))

    def _look_for_another(self) -> Iterator[Line]:
        try:
            _, files = ask_for_files(self._run_dir, self._request)
        except NotRunningError:
            return  # it may be on its way back; the file that we hold is still written
        for file in files[1:]:
            os.close(file)
        if files and os.path.sameopenfile(files[0], self._file):
            os.close(files[0])
        elif files:
            yield from self._new()  # the last words in the old one
            os.close(self._file)
            self._file, self._position, self._rest = files[0], 0, b""
