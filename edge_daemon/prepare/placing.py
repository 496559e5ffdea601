"""Which slot a start-first app's new revision takes: another than the one that runs, so that both can run at once.

Rules: what is desired already keeps its slot, for it is the same revision; so does what a change of limits alone makes
of the one that runs. Pure but for reading sealed revisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_daemon import slots
from edge_daemon.keeper.retune import limits_only
from edge_daemon.layout import Layout
from edge_daemon.prepare import garbage
from edge_daemon.prepare.revision import SealedFile
from edge_daemon.sealed import Revision
from fleet_protocol.documents.release import Release
from fleet_protocol.wire import strict_json

Built = tuple[str, dict[str, SealedFile]]


def place(build: Callable[[str], Built], release: Release, layout: Layout, running: Mapping[str, str]) -> Built:
    """`build` in the right slot; `running`: app -> the revision that runs now."""
    if release.strategy != "start-first":
        return build(slots.A)
    runs, named = running.get(release.app, ""), _indexed(release.app, layout)
    name, files = build(slots.A)
    for known in (runs, named):
        if known and known in (name, slots.twin(name)):
            return (name, files) if known == name else build(slots.B)
    old = garbage.read_revision(layout.revision(release.app, runs)) if runs else None
    if old is None:
        return name, files
    taken = slots.slot_of(old["start_order"][0])
    same = (name, files) if taken == slots.A else build(slots.B)
    if limits_only(old, _revision(same)) is not None:
        return same
    return build(slots.B) if taken == slots.A else (name, files)


def _revision(built: Built) -> Revision:
    value: Revision = strict_json.loads(
        built[1]["revision.json"].data, max_bytes=1 << 24, what="the revision that was just built"
    )
    return value


def _indexed(app: str, layout: Layout) -> str:
    """The revision that the newest generation names."""
    newest = max(garbage.generations(layout), default=0)
    index = garbage.read_index(layout.generation(newest))
    return index["apps"][app]["revision"] if index is not None and app in index["apps"] else ""
