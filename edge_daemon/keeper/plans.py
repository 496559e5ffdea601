"""Which revision of each app shall run: the accepted index's, or the last good where that one cannot be read."""

from __future__ import annotations

from typing import NamedTuple

from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.records import AppRow
from edge_daemon.keeper.sealed_state import read_revision, units_of
from edge_daemon.keeper.supervise import Unit
from edge_daemon.layout import Layout
from edge_daemon.sealed import IndexedApp, Revision


class Plan(NamedTuple):
    """One app of the index."""

    app: str
    desired_release: str
    revision: str | None  # None: nothing can be run, and what runs is left alone
    seal: str
    sealed: Revision | None
    units: tuple[Unit, ...]
    why: str  # of a deviation from the index; "" when there is none


def plan(layout: Layout, app: str, entry: IndexedApp, row: AppRow) -> Plan:
    """The revision that the index names, else the last good, else nothing new."""
    try:
        return _plan(layout, app, entry["revision"], entry["seal"], entry["release"], "")
    except StateError as error:
        why = error.sentence()
    if row.good_revision and row.good_revision != entry["revision"]:
        try:
            return _plan(layout, app, row.good_revision, row.good_seal, entry["release"], f"runs its last good: {why}")
        except StateError as error:
            why = f"{why}; {error.sentence()}"
    return Plan(app, entry["release"], None, "", None, (), why)


def _plan(layout: Layout, app: str, revision: str, seal: str, desired: str, why: str) -> Plan:
    sealed = read_revision(layout, app, revision, seal)
    return Plan(app, desired, revision, seal, sealed, units_of(sealed), why)


def leaving_units(layout: Layout, app: str, revision: str) -> dict[str, Unit]:
    """How the services of an earlier revision are stopped; empty when it cannot be read: then with the defaults."""
    try:
        return {unit.name: unit for unit in units_of(read_revision(layout, app, revision, None))}
    except StateError:
        return {}
