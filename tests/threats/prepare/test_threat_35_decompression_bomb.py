"""Rows 32, 33 and 35: sizes and contents that are not what was signed."""

from __future__ import annotations

import gzip
import io
import os
import resource
import sys
import tarfile

import pytest
from oci_support import Layer, tar, text
from unpack_support import Store

from edge_daemon.prepare.decompress import LayerStream
from edge_daemon.prepare.errors import UnpackError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20


class Zeros(Layer):
    """A layer that claims one file of a GiB of zeros."""

    def __init__(self, compression: str, count: int = 1 << 30) -> None:
        super().__init__(b"", compression)
        header = tarfile.TarInfo("zeros")
        header.size = count
        out = io.BytesIO()
        chunk = bytes(MIB)
        packer = gzip.GzipFile(fileobj=out, mode="wb", mtime=0) if compression == "gzip" else zstd.ZstdFile(out, "wb")
        with packer:
            packer.write(header.tobuf())
            for _ in range(count // MIB):
                packer.write(chunk)
            packer.write(bytes(1024))
        self._packed = out.getvalue()

    @property
    def packed(self) -> bytes:
        return self._packed


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_gibibyte_of_zeros_stops_at_the_signed_size(store: Store, compression: str) -> None:
    bomb = Zeros(compression)
    assert len(bomb.packed) < 2 * MIB
    store.refuses_tar(bomb, "more than the release signed", most_bytes=8 * MIB)


def test_a_bomb_that_is_signed_for_stops_at_the_ratio(store: Store) -> None:
    store.refuses_tar(Zeros("zstd", 128 * MIB), "decompression bomb", most_bytes=1 << 31)


def test_a_window_larger_than_the_cap_is_refused_by_the_decompressor() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    packer = zstd.ZstdCompressor(options=options)
    data = io.BytesIO(packer.compress(os.urandom(1000), zstd.ZstdCompressor.FLUSH_BLOCK) + packer.flush())
    stream = LayerStream(data.read, "zstd", most_bytes=MIB)
    with pytest.raises(UnpackError, match="cannot be decompressed"):
        stream.drain()


def test_threat_33_another_diff_id_is_refused(store: Store) -> None:
    store.refuses_tar(Layer(tar([text("a", "x")])), "diff ID", diff_id="0" * 64)


def test_threat_32_trailing_bytes_after_a_gzip_member_are_refused(store: Store) -> None:
    content = tar([text("a", "x")])

    class Trailing(Layer):
        @property
        def packed(self) -> bytes:
            return gzip.compress(content) + b"trailing"

    store.refuses_tar(Trailing(content), "cannot be decompressed")


def test_threat_32_a_blob_longer_than_signed_is_refused(store: Store) -> None:
    layer = Layer(tar([text("a", "x")]), "none")
    store.refuses_tar(layer, "not those that were signed", size=len(layer.packed) - 1)


def test_threat_32_a_stream_that_ends_early_is_refused(store: Store) -> None:
    content = tar([text("a", "x" * 100_000)])

    class Short(Layer):
        @property
        def packed(self) -> bytes:
            return gzip.compress(content)[:-20]

    store.refuses_tar(Short(content), "ends early")


def test_several_gzip_members_are_one_stream(store: Store) -> None:
    content = tar([text("a", "x" * 5000)])

    class Members(Layer):
        @property
        def packed(self) -> bytes:
            return gzip.compress(content[:700]) + gzip.compress(content[700:])

    assert (store.unpack_tar(Members(content)) / "a").read_text() == "x" * 5000


def test_the_unpacker_cannot_write_a_file_beyond_its_cap(store: Store) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.refuses([text("a", "x" * 5000)], "more than the release signed", most_bytes=4999)
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before  # the child's limits are the child's
