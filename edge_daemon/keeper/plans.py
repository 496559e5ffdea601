"""Which revision of each app shall run: the accepted index's, or what stands in for it, and why.

In this order: what an operator on this host holds; the index's, unless it is quarantined or cannot be read; the last
good. A quarantined revision is never run, also when there is nothing else; a release that its signers withdrew neither,
and where the index names one, nothing takes its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.records import OPERATOR, AppRow, HoldRow, QuarantineRow
from edge_daemon.keeper.sealed_state import read_revision, units_of
from edge_daemon.keeper.supervise import Unit
from edge_daemon.keeper.upkeep import words
from edge_daemon.layout import Layout
from edge_daemon.sealed import IndexedApp, Revision

UNREADABLE, RETURNED, ROLLED_BACK, HELD = "unreadable", "returned", "rolled back", "held"
WITHDRAWN = "withdrawn"
ASKING, VETOED = "asking", "vetoed"
"""What runs is wanted on, for its app is being asked before an update, or has said no."""


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
    withdrawn: Mapping[str, str] = {},
) -> Plan:
    """The revision that is held, else the one that the index names, else the last good, else nothing new.

    `withdrawn` are releases of the app, with the reasons of their signers.
    """
    desired = entry["release"]
    if held is not None and held.release not in withdrawn:
        try:
            return _plan(layout, app, held.revision, held.seal, desired, f"held at {held.release}", HELD)
        except StateError:
            pass  # what cannot be read cannot be held
    if barred is not None:
        why = f"{barred.release} went back to {row.good_release}: {barred.reason}"
        kind = ROLLED_BACK if barred.actor == OPERATOR else RETURNED
    elif desired in withdrawn:
        return Plan(app, desired, None, "", None, (), words(desired, withdrawn[desired]), WITHDRAWN)
    else:
        try:
            return _plan(layout, app, entry["revision"], entry["seal"], desired, "", "")
        except StateError as error:
            why, kind = f"runs its last good: {error.sentence()}", UNREADABLE
    if row.good_revision and row.good_release in withdrawn:
        why = f"{why.removeprefix('runs its last good: ')}; {words(row.good_release, withdrawn[row.good_release])}"
        kind = WITHDRAWN if barred is not None else kind
    elif row.good_revision and row.good_revision != entry["revision"]:
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


def doomed(
    layout: Layout, entry: IndexedApp, row: AppRow, observed: tuple[Seen, ...], withdrawn: Mapping[str, str]
) -> tuple[Seen, ...]:
    """Containers of releases that were withdrawn, also of revisions that are neither desired nor the last good."""
    names = {entry["revision"]: entry["release"], row.good_revision: row.good_release}
    return tuple(s for s in observed if (names.get(s.revision) or release_of(layout, s.app, s.revision)) in withdrawn)


def release_of(layout: Layout, app: str, revision: str) -> str:
    """Of a revision on this host; empty when it cannot be read."""
    try:
        return read_revision(layout, app, revision, None)["release"]
    except StateError:
        return ""


def returnable(layout: Layout, row: AppRow, withdrawn: Mapping[str, str] = {}) -> str:
    """Why the last good of an app could not be started, or "". Every control file is compared with the seal."""
    if not row.good_revision:
        return "there is no last good to go back to"
    if row.good_release in withdrawn:
        return f"its last good {words(row.good_release, withdrawn[row.good_release])}"
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


def group_of(app: str, groups: dict[str, frozenset[str]]) -> list[str]:
    """The other apps that move together with one: those that it names, those that name it, and theirs in turn."""
    found, waiting = {app}, [app]
    while waiting:
        one = waiting.pop()
        near = {a for a, names in groups.items() if one in names} | (groups.get(one, frozenset()) & groups.keys())
        waiting += near - found
        found |= near
    return sorted(found - {app})


def mates_named(wanted: Plan) -> frozenset[str]:
    """The apps that its release names as moving together with it."""
    return frozenset(wanted.sealed["group"]) if wanted.sealed is not None else frozenset()
