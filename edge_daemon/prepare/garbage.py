"""What nobody needs any more: decided as sets over what is on disk, removed in an order that a crash cannot hurt.

Kept are the revisions that the keeper names, those of the two newest generations, and the ones being prepared; of the
image store, what those revisions use. Everything is removed by name under the prepare lock.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edge_daemon.layout import Layout
from edge_daemon.prepare.store import ImageStore
from edge_daemon.sealed import INDEX_SCHEMA, REVISION_SCHEMA, Index, Revision
from fleet_protocol.wire.bounds import NAME_PATTERN, SHA256_PATTERN, matches

KEPT_GENERATIONS = 2


@dataclass(frozen=True, slots=True)
class Needed:
    """What must stay."""

    generations: frozenset[int]
    revisions: frozenset[tuple[str, str]]  # (app, revision)
    layers: frozenset[str]
    blobs: frozenset[str]  # hex


def parse_keep(texts: list[str]) -> frozenset[tuple[str, str]]:
    """`app/revision` as the keeper writes it. Raises ValueError for anything else: misreading deletes what runs."""
    out = set()
    for text in texts:
        app, _, revision = text.partition("/")
        if not (matches(NAME_PATTERN, app) and matches(SHA256_PATTERN, revision)):
            raise ValueError(f"{text[:80]!r} is not app/revision")
        out.add((app, revision))
    return frozenset(out)


def needed(
    layout: Layout,
    keep: frozenset[tuple[str, str]],
    layers: frozenset[str] = frozenset(),
    blobs: frozenset[str] = frozenset(),
) -> Needed:
    """`keep` and what the newest generations name, with all that those use; `layers` and `blobs` beside it."""
    numbers = sorted(generations(layout))[-KEPT_GENERATIONS:]
    revisions = set(keep)
    for number in numbers:
        index = read_index(layout.generation(number))
        if index is not None:
            revisions |= {(app, entry["revision"]) for app, entry in index["apps"].items()}
    all_layers, all_blobs = set(layers), set(blobs)
    for app, name in revisions:
        revision = read_revision(layout.revision(app, name))
        for service in revision["services"] if revision else ():
            all_layers |= set(service["layers"])
            manifest = service["image"].removeprefix("sha256:")
            all_blobs |= {manifest, *config_of(layout.blobs / manifest)}
    return Needed(frozenset(numbers), frozenset(revisions), frozenset(all_layers), frozenset(all_blobs))


def collect(layout: Layout, store: ImageStore, stay: Needed, partials: frozenset[str]) -> None:
    """Remove everything else: generations first, then revisions, then what only those used."""
    for number in generations(layout) - stay.generations:
        shutil.rmtree(layout.generations / str(number), ignore_errors=True)
    for app in _names(layout.revisions):
        for name in _names(layout.revisions / app):
            if (app, name) not in stay.revisions:
                shutil.rmtree(layout.revisions / app / name, ignore_errors=True)
        if not _names(layout.revisions / app):
            (layout.revisions / app).rmdir()
    for name in {*_names(layout.layers), *_names(store.sizes)} - stay.layers:
        store.drop_layer(name)
    for name in set(_names(layout.blobs)) - stay.blobs:
        (layout.blobs / name).unlink(missing_ok=True)
    for name in set(_names(store.partial)) - partials:
        (store.partial / name).unlink(missing_ok=True)


def generations(layout: Layout) -> set[int]:
    """Numbers of the generations on disk."""
    return {int(name) for name in _names(layout.generations) if name.isascii() and name.isdecimal()}


def known_apps(layout: Layout) -> set[str]:
    """Apps with a revision on disk."""
    return set(_names(layout.revisions))


def releases(layout: Layout) -> set[tuple[str, str]]:
    """(app, release) of all that could be started on this host: what is sealed, and what the generations name."""
    indices = [read_index(layout.generation(number)) for number in generations(layout)]
    named = {(app, entry["release"]) for index in indices if index for app, entry in index["apps"].items()}
    apps = known_apps(layout)
    folders = [(app, layout.revision(app, name)) for app in apps for name in _names(layout.revisions / app)]
    return named | {(app, sealed["release"]) for app, folder in folders if (sealed := read_revision(folder))}


def read_index(path: Path) -> Index | None:
    """A generation's index; None if there is none that reads as one."""
    value = _read(path, INDEX_SCHEMA)
    return cast("Index | None", value)


def read_revision(folder: Path) -> Revision | None:
    """A sealed revision.json; None if there is none that reads as one."""
    value = _read(folder / "revision.json", REVISION_SCHEMA)
    return cast("Revision | None", value)


def _read(path: Path, schema: str) -> dict[str, object] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("schema") == schema else None


def config_of(manifest: Path) -> set[str]:
    """The configuration blob that a kept manifest names; it was checked when it was kept."""
    try:
        fields = json.loads(manifest.read_bytes())
        digest = str(fields["config"]["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {digest.removeprefix("sha256:")}


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
