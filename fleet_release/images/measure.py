"""One layer read from its first to its last byte: digest, size, diff ID, and how much it unpacks to."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Self, cast

from fleet_release.images.documents import COMPRESSION_OF, Descriptor
from fleet_release.images.errors import ImageRefusedError
from fleet_release.images.model import CHUNK

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# An edge host refuses what is beyond these; better to hear it before signing.
ZSTD_WINDOW_LOG = 25
RATIO_FREE_BYTES = 64 << 20
MAX_RATIO = 250
MAX_ENTRIES = 1_000_000
MAX_HEADER_BYTES = 1 << 20
MAX_TAR_BYTES = 64 << 30


@dataclass(frozen=True, slots=True)
class Measured:
    """What a layer holds."""

    diff_id: str
    file_bytes: int
    entries: int


class _Counting(io.RawIOBase):
    """Hashes and counts what passes, and stops above what was promised."""

    def __init__(self, source: BinaryIO, most: int, what: str) -> None:
        self._source = source
        self._most = most
        self._what = what
        self.hash = hashlib.sha256()
        self.count = 0
        self.below: _Counting | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._source.read(min(len(view), CHUNK))
        self.count += len(data)
        if self.count > self._most:
            raise ImageRefusedError(f"has more than the {self._most} bytes that {self._what}")
        if self.below and self.count > RATIO_FREE_BYTES and self.count > MAX_RATIO * self.below.count:
            raise ImageRefusedError(f"is a decompression bomb: {self.count} bytes from {self.below.count}")
        self.hash.update(data)
        view[: len(data)] = data
        return len(data)


class _BoundedInfo(tarfile.TarInfo):
    """Extended headers are read into memory as a whole, so their size is looked at first."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in (b"x", b"g", b"X", b"L", b"K") and found.size > MAX_HEADER_BYTES:
            raise ImageRefusedError(f"has an extended header of {found.size} bytes")
        return found


def measure(source: BinaryIO, layer: Descriptor, where: str) -> Measured:
    """Reads and closes `source`. Raises ImageRefusedError when it is not what `layer` names, or is no layer at all."""
    raw = _Counting(source, layer.size, "its descriptor names")
    try:
        plain = _Counting(_decompressed(raw, COMPRESSION_OF[layer.media_type]), MAX_TAR_BYTES, "a layer may hold")
        plain.below = raw
        files, entries = _members(plain)
        _drain(plain)
        _drain(raw)
    except ImageRefusedError as error:
        raise ImageRefusedError(f"the layer {layer.digest[:19]} {error.reason}", element=where) from error
    except (OSError, EOFError, zlib.error, zstd.ZstdError, tarfile.TarError, ValueError) as error:
        raise ImageRefusedError(f"the layer {layer.digest[:19]} cannot be read: {error}", element=where) from error
    finally:
        source.close()
    if raw.count != layer.size:
        raise ImageRefusedError(
            f"the layer {layer.digest[:19]} has {raw.count} bytes, {layer.size} were named", element=where
        )
    if (found := f"sha256:{raw.hash.hexdigest()}") != layer.digest:
        raise ImageRefusedError(f"the layer's bytes are {found[:19]}, {layer.digest[:19]} was named", element=where)
    return Measured(f"sha256:{plain.hash.hexdigest()}", files, entries)


def _decompressed(raw: _Counting, compression: str) -> BinaryIO:
    source = cast("BinaryIO", raw)  # RawIOBase reads like one
    if compression == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=source, mode="rb"))
    if compression == "zstd":
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        return cast("BinaryIO", zstd.ZstdFile(source, mode="rb", options=options))
    return source


def _members(plain: _Counting) -> tuple[int, int]:
    files = entries = 0
    with tarfile.open(fileobj=plain, mode="r|", bufsize=CHUNK, tarinfo=_BoundedInfo, errorlevel=1) as archive:
        for member in archive:
            entries += 1
            if entries > MAX_ENTRIES:
                raise ImageRefusedError(f"has more than {MAX_ENTRIES} entries")
            if member.isreg():
                files += member.size
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
    return files, entries


def _drain(stream: _Counting) -> None:
    while stream.read(CHUNK):
        pass
