"""The real unpacker over a store of the test's own, with a canary beside it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from oci_support import Entry, Layer, digest, tar

from edge_daemon.layout import Layout
from edge_daemon.prepare import manifest
from edge_daemon.prepare.errors import UnpackError
from edge_daemon.prepare.store import ImageStore
from edge_daemon.prepare.unpack import unpack_layer

UID_BASE = 1_000_000
WORKER = 64998


class Store:
    """A layer goes in, or is refused and leaves nothing."""

    def __init__(self, base: Path) -> None:
        self.layout = Layout(base / "state", base / "run")
        self.images = ImageStore(self.layout, WORKER)
        self.images.open()
        self.canary = base / "canary"
        self.canary.mkdir()
        (self.canary / "file").write_text("as it was")
        self._before = tree(base / "canary")

    def unpack(self, entries: list[Entry], *, most_bytes: int = 1 << 20, compression: str = "gzip") -> Path:
        return self.unpack_tar(Layer(tar(entries), compression), most_bytes=most_bytes)

    def unpack_tar(self, layer: Layer, *, most_bytes: int = 1 << 20, diff_id: str = "", size: int = 0) -> Path:
        packed = layer.packed
        hex_id = digest(packed).removeprefix("sha256:")
        path = self.images.partial_path(hex_id)
        path.write_bytes(packed)
        wanted = manifest.Layer(
            manifest.Blob(f"sha256:{hex_id}", size or len(packed)),
            layer.compression,
            (diff_id or layer.diff_id).removeprefix("sha256:"),
        )
        unpack_layer(wanted, path, self.images, most_bytes=most_bytes, uid_base=UID_BASE)
        return self.layout.layers / wanted.diff_id

    def refuses(self, entries: list[Entry], words: str, *, most_bytes: int = 1 << 20) -> None:
        """Refused with these words; nothing under a layer's name, no draft, and the canary as it was."""
        self.refuses_tar(Layer(tar(entries)), words, most_bytes=most_bytes)

    def refuses_tar(
        self, layer: Layer, words: str, *, most_bytes: int = 1 << 20, diff_id: str = "", size: int = 0
    ) -> None:
        with pytest.raises(UnpackError) as caught:
            self.unpack_tar(layer, most_bytes=most_bytes, diff_id=diff_id, size=size)
        assert words in caught.value.reason, caught.value.reason
        assert os.listdir(self.layout.layers) == []
        self.untouched()

    def untouched(self) -> None:
        assert tree(self.canary) == self._before


def tree(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Every path with kind, owner, change time and content."""
    out = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        at = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        out[str(path)] = (at.st_mode, at.st_uid, at.st_ctime_ns, content)
    return out
