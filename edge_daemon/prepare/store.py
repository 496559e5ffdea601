"""The image store: manifests and configurations by digest, layers unpacked by diff ID, nothing half-written.

    images/blobs/sha256/<hex>     manifests and image configurations, readable by the worker's group
    images/layers/<hex>/          unpacked, owned by the shifted range; 0711 above, so that shifted ids can pass through
    images/sizes/<hex>            file bytes of a layer; a layer without it is unpacked again
    prepare/partial/<hex>         downloads under way, owned by the worker

Compressed layers are not kept: unpacking hashes them on their way from `partial`, and afterwards they are of no use.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from edge_daemon.layout import Layout
from edge_daemon.prepare import confine
from edge_daemon.prepare.errors import FetchError
from fleet_protocol.wire.bounds import SHA256_PATTERN, matches
from fleet_protocol.wire.durable import rename_durably, replace_durably

DRAFT = ".draft-"


class ImageStore:
    """Everything below images/, and prepare/partial. For the privileged parent alone."""

    def __init__(self, layout: Layout, worker: int) -> None:
        self._layout = layout
        self._worker = worker
        self.sizes = layout.layers.parent / "sizes"
        self.partial = layout.work / "partial"

    def open(self) -> None:
        """Make the directories, with the permissions that the split of powers needs, and clear what a kill left."""
        layout = self._layout
        for folder in (layout.layers.parent, layout.layers, layout.blobs.parent, layout.work):
            _directory(folder, 0o711, 0, 0)
        _directory(layout.blobs, 0o750, 0, self._worker)
        _directory(self.sizes, 0o700, 0, 0)
        _directory(self.partial, 0o700, self._worker, self._worker)
        for name in os.listdir(layout.layers):
            if name.startswith(DRAFT):
                shutil.rmtree(layout.layers / name)

    def unpacked(self) -> dict[str, int]:
        """File bytes of every whole layer, by diff ID."""
        out = {}
        for name in os.listdir(self._layout.layers):
            size = self._size(name)
            if size is not None:
                out[name] = size
        return out

    def partials(self) -> dict[str, int]:
        """Bytes already downloaded, by the blob's hex digest."""
        return {name: (self.partial / name).lstat().st_size for name in os.listdir(self.partial)}

    def put_blob(self, digest: str, data: bytes) -> None:
        """Keep a manifest or configuration. Raises FetchError unless it is what its digest says."""
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise FetchError("its bytes are not those that were signed", element=digest[:19])
        path = self.blob_path(digest)
        if not path.exists():
            replace_durably(path, data, 0o644)  # the folder admits root and the worker's group alone

    def blob(self, digest: str) -> bytes | None:
        """The bytes of a kept blob, checked again; None if it is not there or damaged (then it is fetched anew)."""
        return read_blob(self._layout.blobs, digest)

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies; the digest has been matched against its pattern."""
        return self._layout.blobs / _hex(digest.removeprefix("sha256:"))

    def partial_path(self, hex_digest: str) -> Path:
        """Where a download grows."""
        return self.partial / _hex(hex_digest)

    def drop_partial(self, hex_digest: str) -> None:
        """A download that is of no more use."""
        self.partial_path(hex_digest).unlink(missing_ok=True)

    def draft_layer(self, diff_id: str) -> Path:
        """An empty directory to unpack into; a layer of that name without a size is not whole and goes away first."""
        target = self._layout.layers / _hex(diff_id)
        if target.exists() and self._size(diff_id) is None:
            shutil.rmtree(target)
        draft = self._layout.layers / f"{DRAFT}{diff_id}"
        draft.mkdir(mode=0o755)
        return draft

    def keep_layer(self, diff_id: str, draft: Path, *, file_bytes: int) -> None:
        """Give a whole layer its name: its files first, then its size, then the name, each durable before the next."""
        confine.sync_filesystem(draft)
        replace_durably(self.sizes / _hex(diff_id), str(file_bytes).encode())
        rename_durably(draft, self._layout.layers / diff_id)

    def drop_layer(self, diff_id: str) -> None:
        """Remove a layer: its size first, so that a run that is killed half-way leaves no layer that seems whole."""
        (self.sizes / _hex(diff_id)).unlink(missing_ok=True)
        shutil.rmtree(self._layout.layers / diff_id, ignore_errors=True)

    def free_bytes(self) -> int:
        """What an unprivileged writer could still write: root's own reserve is not ours to use."""
        at = os.statvfs(self._layout.layers)
        return at.f_bavail * at.f_frsize

    def _size(self, diff_id: str) -> int | None:
        if not matches(SHA256_PATTERN, diff_id):
            return None
        try:
            return int((self.sizes / diff_id).read_text())
        except (FileNotFoundError, ValueError):
            return None


def read_blob(folder: Path, digest: str) -> bytes | None:
    """As ImageStore.blob, for the worker, who may read the folder."""
    try:
        data = (folder / _hex(digest.removeprefix("sha256:"))).read_bytes()
    except FileNotFoundError:
        return None
    return data if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest else None


def _hex(name: str) -> str:
    if not matches(SHA256_PATTERN, name):
        raise ValueError(f"not a SHA-256 in hex: {name[:80]!r}")
    return name


def _directory(path: Path, mode: int, uid: int, gid: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def searchable_by_others(path: Path) -> Path | None:
    """The first directory on the way to `path` that shifted ids cannot pass, or None."""
    for folder in (*reversed(path.parents), path):
        if folder.exists() and not stat.S_IMODE(folder.stat().st_mode) & stat.S_IXOTH:
            return folder
    return None
