"""The one way in which files are written: whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import time
from pathlib import Path


def replace_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Leave `path` holding all of `data` with permissions `mode`, or all it held before, also after a power cut."""
    _replace(path, data, mode, sync=True)
    sync_directory(path.parent)


def replace_for_this_boot(path: Path, data: bytes, mode: int = 0o600) -> None:
    """The same for whoever reads it meanwhile, without waiting for a disk: a power cut may take it."""
    _replace(path, data, mode, sync=False)


def _replace(path: Path, data: bytes, mode: int, *, sync: bool) -> None:
    # Not tempfile: it costs the resident keeper 0.9 MB. A leftover of a dead process with this pid is no one's.
    draft = path.parent / f".{path.name}.{os.getpid()}.{time.monotonic_ns():x}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def rename_durably(source: Path, target: Path) -> None:
    """Move `source`, already synced, to `target` in one step, and make the step itself durable."""
    os.rename(source, target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def sync_directory(folder: Path) -> None:
    """Make the entries of `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
