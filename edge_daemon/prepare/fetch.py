"""One blob into a file: resumed over kills and broken connections, exactly as long and exactly what was signed.

How slow a server may be is watched below this, by the connection; here it is counted how often it may fail.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge_daemon.prepare.errors import FetchError
from fleet_protocol.wire.errors import RoadsteadError

CHUNK = 256 * 1024
TRIES = 6  # in a row without one new byte
MOST_TRIES = 60
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.5, 30.0


class Stream(Protocol):
    """A blob under way, as the session gives it."""

    offset: int

    def read(self, at_most: int, /) -> bytes: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


OpenBlob = Callable[[int], Stream]


def backoff(failures: int, *, chance: float) -> float:
    """Seconds to wait after `failures` in a row; `chance` in [0, 1)."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(failures, 16))
    return ceiling / 2 + chance * ceiling / 2


def download(
    open_blob: OpenBlob,
    path: Path,
    digest: str,
    size: int,
    *,
    report: Callable[[int], None],
    pause: Callable[[int], None],
) -> None:
    """Leave the blob in `path`; `report(bytes so far)`, `pause(failures)` waits.

    Raises FetchError, or what the session raised.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        found = os.fstat(handle).st_size
        taker = _Taker(file, digest, size, report)
        if found > size:
            taker.restart()
        else:
            taker.adopt(found)
        resumed = taker.count > 0
        while True:
            _take(open_blob, taker, pause)
            if taker.digest() == digest.removeprefix("sha256:"):
                return
            taker.restart()
            if not resumed:
                raise FetchError("its bytes are not those that were signed", element=digest[:19])
            resumed = False  # what an earlier run left may have been damaged; once, everything is fetched anew


def _take(open_blob: OpenBlob, taker: _Taker, pause: Callable[[int], None]) -> None:
    failures = tries = 0
    while taker.count < taker.size:
        before = taker.count
        try:
            stream = open_blob(taker.count)
            try:
                taker.take(stream)
            finally:
                stream.close()
        except RoadsteadError as error:
            failures = failures + 1 if taker.count <= before else 1
            tries += 1
            if not error.retry or failures >= TRIES or tries >= MOST_TRIES:
                raise
            pause(failures)


class _Taker:
    """Bytes into the file and into the hash, never more than `size`."""

    def __init__(self, file: object, digest: str, size: int, report: Callable[[int], None]) -> None:
        self._file = file
        self._handle = file.fileno()  # type: ignore[attr-defined]
        self._digest = digest
        self._hash = hashlib.sha256()
        self._report = report
        self.size = size
        self.count = 0

    def adopt(self, count: int) -> None:
        """Count and hash what lies there already."""
        while self.count < count:
            data = os.pread(self._handle, CHUNK, self.count)
            if not data:
                break
            self._hash.update(data)
            self.count += len(data)
        self._report(self.count)

    def restart(self) -> None:
        os.ftruncate(self._handle, 0)
        self._hash = hashlib.sha256()
        self.count = 0

    def take(self, stream: Stream) -> None:
        """Read to the end. Raises FetchError at the first byte too many, or when the stream ends early."""
        if stream.offset == 0 and self.count:
            self.restart()  # the server does not do ranges
        while data := stream.read(min(CHUNK, self.size + 1 - self.count)):
            if self.count + len(data) > self.size:
                raise FetchError(f"the server sends more than the {self.size} bytes signed", element=self._digest[:19])
            os.pwrite(self._handle, data, self.count)
            self._hash.update(data)
            self.count += len(data)
            self._report(self.count)
        if self.count < self.size:
            raise FetchError(
                f"the server's answer ends after {self.count} of {self.size} bytes",
                element=self._digest[:19],
                retry=True,
            )

    def digest(self) -> str:
        return self._hash.hexdigest()
