"""Writing what was decided: revisions, each whole or not there, and the one file that commits a generation.

The order, and why a crash at any point is harmless:

1. Layers are in the store under their names (each already durable).
2. Each revision is written beside its place, synced, and renamed. A name that is there already is left alone: it was
   made of the same inputs. Nothing refers to a new revision yet.
3. The verifier accepts the generation: from here on it is the floor, and nothing older or different comes in. A crash
   here leaves it accepted and not sealed; the same document then runs through again and finds all of this done.
4. `generations/<n>/index.json`, durably: the commit. The keeper takes up a generation only when it was told of it.
5. The verifier notes that it is sealed; only from then on is the same document `current`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from edge_daemon.layout import Layout
from edge_daemon.prepare import confine
from edge_daemon.prepare.errors import SealError
from edge_daemon.prepare.garbage import read_index, read_revision
from edge_daemon.prepare.revision import SealedFile
from edge_daemon.sealed import INDEX_SCHEMA, Index, IndexedApp
from fleet_protocol.documents.desired import DesiredState
from fleet_protocol.wire.durable import rename_durably, replace_durably
from fleet_protocol.wire.strict_json import dumps

DRAFT = ".draft-"


def open_folders(layout: Layout) -> None:
    """Searchable, not listable: shifted ids pass through to what a bind mount names, and see nothing else."""
    for folder in (layout.revisions, layout.generations):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.chmod(0o711)


def seal_revision(layout: Layout, app: str, name: str, files: dict[str, SealedFile]) -> str:
    """Leave the revision in its place; returns its seal."""
    target = layout.revision(app, name)
    if target.exists():
        sealed = (target / "revision.json").read_bytes()
        if sealed == files["revision.json"].data and _intact(target, files):
            return hashlib.sha256(sealed).hexdigest()
        # Written by us and changed since: what runs from it is checked against the seal in keeper.db, so put it aside.
        shutil.rmtree(target)
    target.parent.mkdir(mode=0o711, exist_ok=True)
    target.parent.chmod(0o711)
    draft = target.parent / f"{DRAFT}{name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o711)
    for path, file in files.items():
        _write(draft, path, file)
    confine.sync_filesystem(draft)
    rename_durably(draft, target)
    return hashlib.sha256(files["revision.json"].data).hexdigest()


def seal_generation(layout: Layout, desired: DesiredState, sha256: str, apps: dict[str, IndexedApp]) -> None:
    """The commit."""
    settings = desired.settings.model_dump(mode="json", exclude_none=True)
    index: Index = {
        "schema": INDEX_SCHEMA,
        "generation": desired.generation,
        "sha256": sha256,
        "apps": apps,
        "settings": {key: int(value) for key, value in settings.items()},
    }
    path = layout.generation(desired.generation)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_durably(path, dumps(index))
    confine.sync_filesystem(path.parent)  # the generation's directory is new as well


def is_whole(layout: Layout, generation: int, sha256: str) -> bool:
    """Whether an index is there with everything that it names."""
    index = read_index(layout.generation(generation))
    if index is None or index["sha256"] != sha256:
        return False
    for app, entry in index["apps"].items():
        revision = read_revision(layout.revision(app, entry["revision"]))
        if revision is None:
            return False
        layers = {layer for service in revision["services"] for layer in service["layers"]}
        if not all((layout.layers / layer).is_dir() for layer in layers):
            return False
    return True


def _intact(target: Path, files: dict[str, SealedFile]) -> bool:
    for path, file in files.items():
        try:
            if (target / path).read_bytes() != file.data:
                return False
        except OSError:
            return False
    return True


def _write(draft: Path, path: str, file: SealedFile) -> None:
    parts = Path(path).parts
    if not parts or ".." in parts or path.startswith("/"):
        raise SealError("is not a path inside a revision", element=path)
    folder = draft
    for part in parts[:-1]:
        folder /= part
        folder.mkdir(mode=0o711, exist_ok=True)
    handle = os.open(folder / parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(file.data)
        os.fchown(handle, file.owner, file.owner or 0)
        os.fchmod(handle, file.mode)
