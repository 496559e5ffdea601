"""Asking apps before an update stops them, and remembering what they said. What follows from it is `veto`'s.

An app that said no runs on in its revision like any other: that one is what is wanted of it, until it agrees.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from edge_daemon.keeper import veto
from edge_daemon.keeper.clock import NEVER, boottime
from edge_daemon.keeper.errors import StateError
from edge_daemon.keeper.hooks import Answer, Hooks
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.plans import ASKING, VETOED, Plan
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.sealed_state import read_revision, units_of
from edge_daemon.keeper.veto import Veto
from edge_daemon.layout import Layout
from edge_daemon.sealed import HookValues, Revision

KEY = "vetoes"
VETO_STATUS = 75
"""As fleet_protocol.documents.hooks has it."""


class Vetoes:
    """Of all apps. What they said is durable."""

    def __init__(
        self,
        layout: Layout,
        journal: Journal,
        hooks: Hooks,
        *,
        boot: str,
        wall: Callable[[], int],
        look: Callable[[], None],
    ) -> None:
        self._layout = layout
        self._journal = journal
        self._hooks = hooks
        self._boot = boot
        self._wall = wall
        self._look = look
        self._asked: set[str] = set()  # a question is under way
        self._mute: set[tuple[str, str]] = set()  # revisions without a veto
        stored = json.loads(journal.db.get(KEY) or "[]")
        self._rows = {row[0]: self._carried(Veto(*row)) for row in stored}

    def gate(self, chosen: Plan, observed: tuple[Seen, ...], now: float, *, stops: bool) -> Plan:
        """The plan to follow now: the one that was chosen, or the revision that runs while its app does not let go.

        `stops`: following the chosen plan would stop something of what was observed.
        """
        known = self._rows.get(chosen.app)
        update = chosen.revision is not None and chosen.kind == ""
        begun = any(one.revision == chosen.revision for one in observed)
        barred = known is not None and self._journal.records.quarantined(chosen.app, known.revision) is not None
        if not update or begun or barred:
            self.forget(chosen.app)
            return chosen
        row = known or (self._first(chosen.app, observed) if stops else None)
        sealed = self._sealed(row) if row is not None and row.state != veto.GO else None
        if row is None or sealed is None:
            return chosen
        if now >= row.until_boottime:
            words = f"{chosen.app} is updated although it said {row.words!r}: its veto has expired"
            self._put(veto.after(row, veto.EXPIRED), "app.veto-expired", words, "warn")
            return chosen
        if chosen.app not in self._asked and now >= row.ask_at:
            row = self._ask(row, sealed, observed, now)
            if row.state == veto.GO:
                return chosen
        if (aged := veto.kept(row, now)) is not None:
            self._put(aged)
        kind = VETOED if row.state == veto.HELD else ASKING
        desired = chosen.desired_release
        return Plan(row.app, desired, row.revision, row.seal, sealed, units_of(sealed), veto.why(row), kind)

    def next_due(self) -> float:
        """When to look again by time alone."""
        waiting = [row for row in self._rows.values() if row.state != veto.GO]
        times = [row.ask_at for row in waiting if row.app not in self._asked]
        return min([*times, *(row.until_boottime for row in waiting)], default=NEVER)

    def held(self) -> set[tuple[str, str]]:
        """(app, revision) of what runs on for it."""
        return {(row.app, row.revision) for row in self._rows.values()}

    def overrule(self, app: str) -> str:
        """An operator on this host does not listen to it. In words, what was done; "" when there is no veto."""
        row = self._rows.get(app)
        if row is None or row.state != veto.HELD:
            return ""
        words = f"{app} is updated although it said {row.words!r}: an operator on this host overruled it"
        self._put(veto.after(row, veto.EXPIRED), "app.veto-overruled", words, "warn")
        return words

    def forget(self, app: str) -> None:
        """There is nothing to be asked of it."""
        if self._rows.pop(app, None) is not None:
            self._write()

    # -- asking

    def _first(self, app: str, observed: tuple[Seen, ...]) -> Veto | None:
        """A veto to be asked for, if what runs has one."""
        one = next((o for o in observed if o.pid is not None and o.seal), None)
        if one is None or (app, one.revision) in self._mute:
            return None
        row = Veto(app, one.revision, one.seal)
        sealed = self._sealed(row)
        if sealed is None or not _asked_of(sealed):
            self._mute = {known for known in self._mute if known[0] != app} | {(app, one.revision)}
            return None
        return row

    def _ask(self, row: Veto, sealed: Revision, observed: tuple[Seen, ...], now: float) -> Veto:
        hooks = _asked_of(sealed)
        running = [one for one in observed if one.pid is not None and one.revision == row.revision]
        left = [(one, hooks[one.service]) for one in running if one.service in hooks]
        if not left and row.state == veto.HELD and not observed:
            return row  # after a reboot: it is asked when it runs
        self._rows[row.app] = row
        self._asked.add(row.app)
        self._next(row.app, left, now)
        return self._rows[row.app]

    def _next(self, app: str, left: list[tuple[Seen, HookValues]], now: float) -> None:
        if left:
            (seen, hook), *rest = left
            self._hooks.run(seen, "veto", hook["timeout_s"], now, partial(self._answered, seen, hook, rest))
            return
        self._asked.discard(app)
        row = self._rows[app]
        agreed = veto.after(row, veto.AGREED)
        words = f"{app} may be updated now" if row.state == veto.HELD else ""
        self._put(agreed, "app.veto-ended", words)

    def _answered(self, seen: Seen, hook: HookValues, rest: list[tuple[Seen, HookValues]], answer: Answer) -> None:
        self._look()
        row = self._rows.get(seen.app)
        if row is None or row.revision != seen.revision:
            self._asked.discard(seen.app)
            return
        if answer.status != VETO_STATUS:
            if answer.why:
                self._hooks.failed(seen, "veto", answer, "that is no veto")
            self._next(seen.app, rest, boottime())
            return
        self._asked.discard(seen.app)
        expires = float(hook.get("expires_s", 6 * 3600))
        found = veto.refused(row, answer.said, expires, wall=self._wall(), boot=self._boot, now=boottime())
        if row.state == veto.HELD:
            self._rows[seen.app] = found  # its words may be others; its time is the same
        else:
            self._put(found, "app.vetoed", f"{seen.app} is not updated now. {veto.why(found)}", "warn")

    def _sealed(self, row: Veto) -> Revision | None:
        try:
            return read_revision(self._layout, row.app, row.revision, row.seal)
        except StateError:
            return None  # what cannot be read can neither be asked nor started again

    def _carried(self, row: Veto) -> Veto:
        return veto.carried_over(row, wall=self._wall(), boot=self._boot, now=boottime())

    def _put(self, row: Veto, kind: str = "", words: str = "", severity: str = "info") -> None:
        self._rows[row.app] = row
        with self._journal.db.transaction():
            self._write()
            if words:
                self._journal.say(kind, words, severity=severity, app=row.app)

    def _write(self) -> None:
        kept = [row for row in self._rows.values() if row.state != veto.ASKING]
        bounded = [row._replace(until_boottime=min(row.until_boottime, 1e15)) for row in kept]
        self._journal.db.put(KEY, json.dumps(bounded) if kept else None)


def _asked_of(sealed: Revision) -> dict[str, HookValues]:
    """The vetoes of its services."""
    return {s["name"]: s["hooks"]["veto"] for s in sealed["services"] if "veto" in s.get("hooks", {})}
