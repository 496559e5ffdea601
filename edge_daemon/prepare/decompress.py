"""Streams of a layer: decompression with a window cap, and a reader that counts, hashes and stops at its caps."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from edge_daemon.prepare.errors import UnpackError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 256 * 1024
ZSTD_WINDOW_LOG = 25  # 32 MiB: what usual image builders stay within, and a small host can spare
RATIO_FREE_BYTES = 64 << 20  # below this much output no ratio is asked for: small layers of zeros are honest
MAX_RATIO = 250

Read = Callable[[int], bytes]


class _Decompressor(Protocol):
    """What zlib and zstd have in common once wrapped."""

    def feed(self, data: bytes) -> bytes: ...
    @property
    def hungry(self) -> bool: ...
    @property
    def complete(self) -> bool: ...


class _Plain:
    hungry = True
    complete = True

    def feed(self, data: bytes) -> bytes:
        return data


class _Gzip:
    """Concatenated members are one stream, as in Go; zlib refuses anything else after a member."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._fresh = True

    def feed(self, data: bytes) -> bytes:
        pending = self._member.unconsumed_tail + data
        if self._member.eof:
            pending = self._member.unused_data + data
            if not pending:
                return b""
            self._member = zlib.decompressobj(wbits=31)
        self._fresh = False
        return self._member.decompress(pending, CHUNK)

    @property
    def hungry(self) -> bool:
        return not self._member.unused_data if self._member.eof else not self._member.unconsumed_tail

    @property
    def complete(self) -> bool:
        return self._member.eof and not self._fresh


class _Zstd:
    """Frames one after the other, skippable ones included."""

    def __init__(self) -> None:
        self._frame = self._new()
        self._fresh = True

    @staticmethod
    def _new() -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})

    def feed(self, data: bytes) -> bytes:
        if self._frame.eof:
            data = self._frame.unused_data + data
            if not data:
                return b""
            self._frame = self._new()
        self._fresh = False
        return self._frame.decompress(data, CHUNK)

    @property
    def hungry(self) -> bool:
        return not self._frame.unused_data if self._frame.eof else self._frame.needs_input

    @property
    def complete(self) -> bool:
        return self._frame.eof and not self._fresh


_KINDS: dict[str, Callable[[], _Decompressor]] = {"none": _Plain, "gzip": _Gzip, "zstd": _Zstd}


class LayerStream:
    """The tar inside a blob, as `tarfile` reads it: hashed, and never longer than its caps."""

    def __init__(self, read: Read, compression: str, *, most_bytes: int) -> None:
        self._source = read
        self._decompressor = _KINDS[compression]()
        self._compressed = compression != "none"
        self._most = most_bytes
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._ended = False
        self.taken = 0
        self.given = 0

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end. Raises UnpackError at a cap or for damaged data."""
        while len(self._buffer) < count and not self._ended:
            self._more()
        out = bytes(self._buffer[:count])
        del self._buffer[:count]
        return out

    def drain(self) -> str:
        """Read to the end, so that the hash covers every byte: the diff ID in hex."""
        while self.read(CHUNK):
            pass
        return self._hash.hexdigest()

    def _more(self) -> None:
        data = b""
        if self._decompressor.hungry:
            data = self._source(CHUNK)
            self.taken += len(data)
            if not data:
                self._ended = True
                if not self._decompressor.complete:
                    raise UnpackError("the compressed stream ends early")
                return
        try:
            out = self._decompressor.feed(data)
        except (zlib.error, zstd.ZstdError, MemoryError) as error:
            raise UnpackError(f"cannot be decompressed: {error or 'out of memory'}") from error
        self.given += len(out)
        if self.given > self._most:
            raise UnpackError(f"unpacks to more than {self._most} bytes, which is more than the release signed")
        if self._compressed and self.given > RATIO_FREE_BYTES and self.given > MAX_RATIO * self.taken:
            raise UnpackError(f"is a decompression bomb: {self.given} bytes from {self.taken}")
        self._hash.update(out)
        self._buffer += out
