"""`fleet-server backup` and `restore`: all that makes a server, in one file.

A backup is a tar archive of ordinary files, and last in it MANIFEST.json with size, mode and SHA-256 of each. It can
be made while the server runs: the store is copied by SQLite's own means, and everything else is either written once and
never changed or copied in an order that leaves nothing named that is not there. After writing, the archive is read
again from the disk and held against what it should hold. It holds every key of the server: keep it as you keep those.

The broker's files are not in it; they are made anew from the CA and the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.durable import rename_durably, sync_directory
from fleet_protocol.wire.errors import RoadsteadError
from fleet_server.broker_files import broker_directory
from fleet_server.config import Layout, load_config
from fleet_server.store.sqlite import open_store
from fleet_server.version import VERSION
from provisioning.authority.ca import DeviceCa

MANIFEST = "MANIFEST.json"
FORMAT = "roadstead/backup/v1"
MAX_MANIFEST_BYTES = 256 * 1024 * 1024
CHUNK = 1 << 20
# In this order: heads before their rows, the store before what it names, the timestamp before what it names.
FIRST = ("audit.heads", "server.db", "tuf/metadata/timestamp.json")
TREES = ("server.toml", "admin.token", "ca", "tls", "keys", "tuf", "blobs")


class BackupError(RoadsteadError):
    """A backup could not be made, is not whole, or has no place to go."""

    phase = "backing up"
    component = "fleet-server"
    code = "E0925"


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    files: int
    size: int
    sha256: str  # of the archive


def backup(layout: Layout, to: Path, now: int) -> Made:
    """Write `to`, which must not be there. It is there when this returns, whole and verified, or not at all."""
    load_config(layout)
    if to.exists():
        raise BackupError("it is there already; a backup is never overwritten", element=str(to))
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w+b") as file:
            files = _write(layout, file, now)
            file.flush()
            os.fsync(file.fileno())
        made = Made(files, draft.stat().st_size, _verified(draft))
        rename_durably(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    return made


def restore(archive: Path, layout: Layout, now: int) -> int:
    """Make the server directory from a backup; the number of files. The target must be empty or not be there.

    Nothing is left in the target unless everything in the archive is as its manifest says and the store is sound.
    """
    base = layout.base
    if base.exists() and any(base.iterdir()):
        raise BackupError("it is not empty; an existing server is never overwritten", element=str(base))
    base.parent.mkdir(parents=True, exist_ok=True)
    draft = base.with_name(f".{base.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    try:
        files = _unpack(archive, draft)
        for name in ("ca", "tls", "keys", "tuf", "blobs"):
            (draft / name).mkdir(mode=0o700, exist_ok=True)
        _check_store(draft / "server.db")
        load_config(Layout(draft))
        for folder in [draft, *(p for p in draft.rglob("*") if p.is_dir())]:
            sync_directory(folder)
        if base.exists():
            base.rmdir()
        draft.chmod(0o711)
        rename_durably(draft, base)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _broker(layout, now)
    return files


def verify(archive: Path) -> int:
    """Hold every file in the archive against the manifest; their number. Raises BackupError."""
    with archive.open("rb") as file:
        return _check(file, archive.name)


# --- writing


def _write(layout: Layout, file: IO[bytes], now: int) -> int:
    entries: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar, _copied(layout.store) as store:
        for name, path in _sources(layout, store):
            entries[name] = _add(tar, name, path)
        text = strict_json.dumps({"schema": FORMAT, "version": VERSION, "at": now, "files": entries})
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode, info.mtime = len(text), 0o600, now
        tar.addfile(info, io.BytesIO(text))
    return len(entries)


def _sources(layout: Layout, store: Path) -> Iterator[tuple[str, Path]]:
    """Name in the archive, and where it is read."""
    base, seen = layout.base, set(FIRST)
    for name in FIRST:
        path = store if name == "server.db" else base / name
        if path.exists():
            yield name, path
    for tree in TREES:
        top = base / tree
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            name = path.relative_to(base).as_posix()
            if name.startswith("blobs/uploads/"):
                continue  # not there yet for anybody
            if name not in seen and path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield name, path


@contextlib.contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """The store as of one moment, in a file beside it; the server may write meanwhile."""
    handle, name = tempfile.mkstemp(prefix=".backup-", suffix=".db", dir=path.parent)
    os.close(handle)
    copy = Path(name)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, pages=2000, sleep=0.01)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        _check_store(copy)
        yield copy
    except sqlite3.Error as error:
        raise BackupError(f"the store cannot be copied: {error}", element=path.name) from error
    finally:
        copy.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, Any]:
    """One file as it is now; what grows meanwhile is taken as far as it was."""
    with path.open("rb") as source:
        status = os.fstat(source.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mtime = status.st_size, int(status.st_mtime)
        info.mode = stat.S_IMODE(status.st_mode) & 0o644
        reading = _Hashed(source)
        tar.addfile(info, reading)  # type: ignore[arg-type]
    return {"size": info.size, "mode": info.mode, "sha256": reading.digest.hexdigest()}


class _Hashed:
    """Reads through to a file and hashes what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


# --- reading


def _verified(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, not from what was just written
        while data := file.read(CHUNK):
            digest.update(data)
        file.seek(0)
        _check(file, path.name)
    return digest.hexdigest()


def _check(file: IO[bytes], what: str) -> int:
    """Members against manifest."""
    found: dict[str, tuple[int, int, str]] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if manifest is not None or not info.isreg():
                    raise BackupError(f"{info.name[:80]!r} should not be in it", element=what)
                source = tar.extractfile(info)
                assert source is not None
                if info.name == MANIFEST:
                    manifest = strict_json.loads(source.read(), max_bytes=MAX_MANIFEST_BYTES, what=MANIFEST)
                    continue
                if info.name in found or not _is_inside(info.name):
                    raise BackupError(f"{info.name[:80]!r} should not be in it", element=what)
                found[info.name] = (info.size, info.mode, _hash(source))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BackupError(f"it cannot be read: {error}", element=what) from error
    return _compare(found, manifest, what)


def _compare(found: dict[str, tuple[int, int, str]], manifest: dict[str, Any] | None, what: str) -> int:
    if manifest is None or manifest.get("schema") != FORMAT:
        raise BackupError("its end is missing, so it is not whole", element=what)
    listed = {name: (e["size"], e["mode"], e["sha256"]) for name, e in manifest["files"].items()}
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            raise BackupError(f"{name} is not as it was when it was written", element=what)
    return len(found)


def _unpack(archive: Path, into: Path) -> int:
    """Raises BackupError before anything in `into` is used. Only what `verify` accepts is written."""
    with archive.open("rb") as file:
        count = _check(file, archive.name)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if info.name != MANIFEST:
                    source = tar.extractfile(info)
                    assert source is not None
                    _place(into, info.name, source, info.mode)
    return count


def _place(into: Path, name: str, source: IO[bytes], mode: int) -> None:
    path = into / name
    for parent in reversed(path.relative_to(into).parents[:-1]):
        (into / parent).mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode & 0o644)
    with os.fdopen(handle, "wb") as target:
        shutil.copyfileobj(source, target, CHUNK)
        target.flush()
        os.fsync(target.fileno())


def _is_inside(name: str) -> bool:
    """Whether a name is one that a server directory has."""
    parts = PurePosixPath(name).parts
    known = {*(first.partition("/")[0] for first in FIRST), *TREES}
    return bool(parts) and parts[0] in known and ".." not in parts and name == "/".join(parts)


def _hash(source: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while data := source.read(CHUNK):
        digest.update(data)
    return digest.hexdigest()


def store_damage(path: Path) -> str | None:
    """What SQLite finds wrong with every page and index of the store, or None."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
            said = str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return None if said == "ok" else said


def _check_store(path: Path) -> None:
    damage = store_damage(path)
    if damage is not None:
        raise BackupError(f"the store is damaged: {damage}", element=path.name)


def _broker(layout: Layout, now: int) -> None:
    """The broker's files hold absolute paths, and who may speak is known to the store."""
    config = load_config(layout)
    store = open_store(layout.store)
    try:
        directory = broker_directory(layout, config, DeviceCa.load(layout.ca))
        directory.prepare(now)
        directory.apply(store.active_device_ids(), store.revoked_certificates(), now)
    finally:
        store.close()
