"""Which revision of each app shall run: the accepted index's, or what stands in for it, and why.

In this order: what an operator on this host holds; the index's, unless it is quarantined or cannot be read; the last
good. A quarantined revision is never run, also when there is nothing else.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.records import OPERATOR, AppRow, HoldRow, QuarantineRow
from edge_daemon.keeper.sealed_state import read_revision, units_of
from edge_daemon.keeper.supervise import Unit
from edge_daemon.layout import Layout
from edge_daemon.sealed import IndexedApp, Revision

UNREADABLE, RETURNED, ROLLED_BACK, HELD = "unreadable", "returned", "rolled back", "held"


class Plan(NamedTuple):
    """One app of the index."""

    app: str
    desired_release: str
    revision: str | None  # None: nothing can be run, and what runs is left alone
    seal: str
    sealed: Revision | None
    units: tuple[Unit, ...]
    why: str  # of a deviation from the index; "" when there is none
    kind: str = ""  # of the deviation


def plan(
    layout: Layout,
    app: str,
    entry: IndexedApp,
    row: AppRow,
    barred: QuarantineRow | None = None,
    held: HoldRow | None = None,
) -> Plan:
    """The revision that is held, else the one that the index names, else the last good, else nothing new."""
    desired = entry["release"]
    if held is not None:
        try:
            return _plan(layout, app, held.revision, held.seal, desired, f"held at {held.release}", HELD)
        except StateError:
            pass  # what cannot be read cannot be held
    if barred is not None:
        why = f"{barred.release} went back to {row.good_release}: {barred.reason}"
        kind = ROLLED_BACK if barred.actor == OPERATOR else RETURNED
    else:
        try:
            return _plan(layout, app, entry["revision"], entry["seal"], desired, "", "")
        except StateError as error:
            why, kind = f"runs its last good: {error.sentence()}", UNREADABLE
    if row.good_revision and row.good_revision != entry["revision"]:
        try:
            return _plan(layout, app, row.good_revision, row.good_seal, desired, why, kind)
        except StateError as error:
            why = f"{why}; {error.sentence()}"
    elif barred is None:
        why = why.removeprefix("runs its last good: ")
    else:
        why = f"{barred.release} is quarantined and there is nothing to go back to: {barred.reason}"
    return Plan(app, desired, None, "", None, (), why, kind)


def _plan(layout: Layout, app: str, revision: str, seal: str, desired: str, why: str, kind: str) -> Plan:
    sealed = read_revision(layout, app, revision, seal)
    return Plan(app, desired, revision, seal, sealed, units_of(sealed), why, kind)


def leaving_units(layout: Layout, app: str, revision: str) -> dict[str, Unit]:
    """How the services of an earlier revision are stopped; empty when it cannot be read: then with the defaults."""
    try:
        return {unit.name: unit for unit in units_of(read_revision(layout, app, revision, None))}
    except StateError:
        return {}


def returnable(layout: Layout, row: AppRow) -> str:
    """Why the last good of an app could not be started, or "". Every control file is compared with the seal."""
    if not row.good_revision:
        return "there is no last good to go back to"
    try:
        sealed = read_revision(layout, row.app, row.good_revision, row.good_seal)
        folder = layout.revision(row.app, row.good_revision)
        for path, digest in sealed["files"].items():
            if hashlib.sha256((folder / path).read_bytes()).hexdigest() != digest:
                return f"of its last good {row.good_release}, {path} is not what was sealed"
        lacking = next((x for s in sealed["services"] for x in s["layers"] if not (layout.layers / x).is_dir()), "")
    except StateError as error:
        return error.sentence()
    except (OSError, KeyError, TypeError) as error:
        return f"its last good {row.good_release} cannot be read: {error}"
    return f"of its last good {row.good_release}, the layer {lacking[:12]} is missing" if lacking else ""
