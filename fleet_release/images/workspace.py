"""Blobs that were fetched or converted, by digest, in a directory that may be thrown away at any time."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from fleet_release.images.model import CHUNK


class Workspace:
    """One directory; files in `blobs` are named by the hex of their SHA-256."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._drafts = root / "drafts"
        for folder in (self._blobs, self._drafts):
            folder.mkdir(parents=True, exist_ok=True)
        self._converted: dict[str, Path] = {}

    def draft(self) -> Path:
        """A new empty file."""
        handle, name = tempfile.mkstemp(dir=self._drafts)
        os.close(handle)
        return Path(name)

    def adopt(self, draft: Path) -> Path:
        """Move a finished draft to its digest's name."""
        target = self._blobs / file_hash(draft)
        draft.rename(target)
        return target

    def find(self, digest: str, size: int) -> Path | None:
        """A blob from an earlier time, if its bytes are still right."""
        path = self._blobs / digest.removeprefix("sha256:")
        if path.is_file() and path.stat().st_size == size and file_hash(path) == path.name:
            return path
        return None

    def converted(self, diff_id: str) -> Path | None:
        """A layer that was compressed in this run."""
        return self._converted.get(diff_id)

    def remember(self, diff_id: str, path: Path) -> None:
        """So that a layer of two images is compressed once."""
        self._converted[diff_id] = path


def file_hash(path: Path) -> str:
    """SHA-256 in hex."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            found.update(data)
    return found.hexdigest()
