"""Containers that become another revision's by a change of limits alone: which can, what is noted, what is given up."""

from __future__ import annotations

from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.plans import Plan
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.records import ServiceRow
from edge_daemon.keeper.retune import limits_only, of_service, words
from edge_daemon.keeper.sealed_state import read_revision
from edge_daemon.layout import Layout
from edge_daemon.sealed import Revision
from edge_daemon.slots import shown

MOST_CUT_OFF = 3


class Tuner:
    """Of one keeper. It decides nothing by itself: `supervise` is told, and acts."""

    def __init__(self, layout: Layout, journal: Journal) -> None:
        self._layout = layout
        self._journal = journal
        self._fits: dict[str, tuple[str, str, bool]] = {}  # app -> (revision that runs, wanted, limits alone differ)
        self._refused: dict[tuple[str, str], str] = {}  # container -> the revision that it cannot become
        self._cut_off: dict[tuple[str, str], tuple[str, int]] = {}  # container -> (revision, tries without an outcome)

    def tunable(self, plan: Plan, observed: tuple[Seen, ...]) -> frozenset[str]:
        """The services whose containers of another revision need nothing but other limits."""
        return frozenset(
            one.service
            for one in observed
            if one.pid is not None
            and one.revision != plan.revision
            and self._refused.get((one.app, one.service)) != plan.revision
            and self._limits_only(plan, one.revision)
        )

    def note(self, plan: Plan, seen: Seen) -> None:
        """Say once what changed. A keeper that was killed before it could finds the same container, and says it."""
        journal = self._journal
        before = journal.records.any_service(seen.app, seen.service)
        if before is None or before.revision == seen.revision or plan.sealed is None:
            return
        if before.started != journal.name(seen._replace(revision=before.revision)):
            return
        who, release = f"{seen.app}/{shown(seen.service)}", plan.sealed["release"]
        changed = self._changed(plan.sealed, before.revision, seen)
        how = f"with other limits: {changed}" if changed else "unchanged"
        with journal.db.transaction():
            journal.records.put_service(ServiceRow(seen.app, seen.service, seen.revision, started=journal.name(seen)))
            journal.say(
                "limits.changed" if changed else "container.kept",
                f"{who} runs on in release {release}, {how}",
                app=seen.app, service=seen.service,
            )  # fmt: skip

    def failed(self, app: str, service: str, revision: str, sentence: str, *, outcome: bool) -> None:
        """It cannot be done while it runs: from now on it is replaced like any other.

        A child that was killed before its outcome says nothing of that, and is started again, but not for ever.
        """
        if not outcome:
            known, tries = self._cut_off.get((app, service), ("", 0))
            tries = tries + 1 if known == revision else 1
            self._cut_off[app, service] = revision, tries
            if tries < MOST_CUT_OFF:
                return
        self._refused[app, service] = revision
        self._journal.say(
            "limits.not-live",
            f"{app}/{shown(service)} is replaced, for its limits could not be changed while it runs: {sentence}",
            severity="warn", app=app, service=service,
        )  # fmt: skip

    def forget(self, app: str) -> None:
        """The app left this host."""
        self._fits.pop(app, None)
        self._refused = {key: revision for key, revision in self._refused.items() if key[0] != app}
        self._cut_off = {key: tries for key, tries in self._cut_off.items() if key[0] != app}

    def _limits_only(self, plan: Plan, running: str) -> bool:
        if plan.sealed is None:
            return False
        wanted = plan.sealed["revision"]
        known = self._fits.get(plan.app)
        if known is None or known[:2] != (running, wanted):
            old = self._read(plan.app, running)
            known = (running, wanted, old is not None and limits_only(old, plan.sealed) is not None)
            self._fits[plan.app] = known
        return known[2]

    def _changed(self, new: Revision, before: str, seen: Seen) -> str:
        after, old = of_service(new, seen.service), self._read(seen.app, before)
        had = of_service(old, seen.service) if old is not None else None
        if after is None:
            return ""
        if had is None or old is None:
            return f"those of release {new['release']}"
        totals = words(old.get("total", {}), new.get("total", {}), "the app's total ")
        return ", ".join(filter(None, (words(had, after), totals)))

    def _read(self, app: str, revision: str) -> Revision | None:
        try:
            return read_revision(self._layout, app, revision, None)
        except StateError:
            return None
