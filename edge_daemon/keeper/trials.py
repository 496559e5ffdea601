"""What follows from `judge`: trials are counted, revisions become last good or are quarantined, operators' acts count.

Everything that is decided is durable, with the event that tells it, in one transaction: a keeper that is killed
between two of them finds the same facts and decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_daemon.keeper.clock import at
from edge_daemon.keeper.errors import ActError
from edge_daemon.keeper.evidence import Evidence
from edge_daemon.keeper.figures import as_text, of_text
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.judge import (
    FOREVER,
    MOST_TRIES,
    Bad,
    Good,
    Hold,
    Inconclusive,
    Trial,
    Verdict,
    judge,
    patience,
)
from edge_daemon.keeper.plans import (
    ASKING,
    HELD,
    RETURNED,
    ROLLED_BACK,
    VETOED,
    Plan,
    doomed,
    group_of,
    mates_named,
    plan,
    returnable,
)
from edge_daemon.keeper.ports import Runtime, Seen
from edge_daemon.keeper.records import JUDGE, OPERATOR, HoldRow, QuarantineRow, TrialRow
from edge_daemon.keeper.slope import every
from edge_daemon.keeper.standing import Counts, Standing, counts
from edge_daemon.keeper.supervise import Wanted
from edge_daemon.keeper.upkeep import Withdrawn, words
from edge_daemon.layout import Layout
from edge_daemon.sealed import IndexedApp

MOST_HELD_S = 90 * 86400
REMEMBER_EVERY_S = 3600.0
"""What the last good uses is written down so often, for comparison with what comes after it."""
WENT_DOWN = "the host went down twice while it was on trial"


class Trials:
    """The judging of every app of this host."""

    def __init__(
        self, layout: Layout, journal: Journal, runtime: Runtime, *, boot: str, now: float, wall: Callable[[], int]
    ) -> None:
        self.withdrawn: Withdrawn = {}
        self._layout = layout
        self._journal = journal
        self._records = journal.records
        self._boot = boot
        self._since = now
        self._wall = wall
        self._judged: dict[str, tuple[str, float, Verdict]] = {}  # app -> (revision, when, what was said)
        self._evidence = Evidence(journal.records, runtime, now)
        self._remembered: dict[str, float] = {}  # app -> when its figures were written down
        for row in self._records.holds():
            if (moved := carried_over(row, boot, now, wall())) != row:
                self._records.put_hold(moved)

    # -- what shall run

    def went_down(self, entries: dict[str, IndexedApp]) -> list[str]:
        """After a boot: what was on trial when the host went down once more than it may goes back. Those that move
        together are one story: it is told of the first of them, and the others go with it. The apps that go back.
        """
        suspects = {app: entry for app, entry in entries.items() if self._took_down(app, entry["revision"])}
        gone: list[str] = []
        if not suspects:
            return gone
        plans = {app: self.plan(app, entry) for app, entry in entries.items()}
        groups = {app: mates_named(one) for app, one in plans.items() if self._on_trial(one)}
        for app, entry in sorted(suspects.items()):
            if self._took_down(app, entry["revision"]):  # it has not gone with another yet
                mates = [plans[mate] for mate in group_of(app, groups)]
                bad = Bad(WENT_DOWN, "host-down")
                gone += self._return(app, entry["revision"], entry["release"], bad, wanted=plans[app], mates=mates)
        return gone

    def _took_down(self, app: str, revision: str) -> bool:
        row = self._records.trial(app)
        if row is None or self._records.hold(app) is not None or row.failed or row.unproven:
            return False
        return row.revision == revision and row.boot != self._boot and row.tries >= MOST_TRIES

    def plan(self, app: str, entry: IndexedApp) -> Plan:
        """What to run of an app, after what is known of its revisions."""
        held, withdrawn = self._records.hold(app), self.withdrawn.get(app, {})
        if held is not None and held.release in withdrawn:
            self.release(app, words(held.release, withdrawn[held.release]))
            held = None
        barred = self._records.quarantined(app, entry["revision"])
        return plan(self._layout, app, entry, self._records.app(app), barred, held, withdrawn)

    def not_before(self, app: str, revision: str) -> float:
        """When a candidate that was there when the host went down may be started in this boot."""
        row = self._records.trial(app)
        mine = row is not None and (row.revision, row.unproven) == (revision, "") and row.boot != self._boot
        return patience(row.tries) if row is not None and mine else 0.0

    def starting(self, wanted: Plan, now: float) -> None:
        """A container of it is about to be started: if that is one more try, count it first."""
        revision, app = wanted.revision, wanted.app
        if revision is None or wanted.sealed is None or not self._on_trial(wanted):
            return
        row = self._records.trial(app)
        if row is None or row.revision != revision:
            row = TrialRow(app, revision, "", 0, now)
        if row.boot == self._boot:
            return
        window = wanted.sealed["health_window_s"]
        again = f", try {row.tries + 1}" if row.tries else ""
        with self._journal.db.transaction():
            self._records.put_trial(row._replace(boot=self._boot, tries=row.tries + 1, begun=now))
            self._journal.say(
                "trial.started", f"{app} {wanted.sealed['release']} is on trial for {window} s{again}", app=app
            )

    # -- what is to be said of it

    def facts(
        self, wanted_plan: Plan, wanted: Wanted, observed: tuple[Seen, ...], stuck: dict[str, str], now: float
    ) -> Trial:
        """What `judge` needs to know."""
        app, revision = wanted_plan.app, wanted_plan.revision
        if any(one.pid is not None and one.revision == revision for one in observed):
            self.starting(wanted_plan, now)  # nothing if it was counted; else our notes of it were lost
        row = self._records.trial(app)
        mine = row if row is not None and row.revision == revision else None
        on_trial = self._on_trial(wanted_plan)
        return self._evidence.trial(wanted_plan, mine, wanted, observed, stuck, now, on_trial=on_trial, boot=self._boot)

    def announce(self, wanted: Plan, trial: Trial) -> None:
        """Say that a revision runs whole, the first time that it does."""
        whole = trial.alone and all(one.up_since is not None or one.completed for one in trial.services)
        if whole and wanted.revision is not None and wanted.sealed is not None:
            returned = wanted.why if wanted.kind in (RETURNED, ROLLED_BACK) else ""
            self._journal.updated(wanted.app, wanted.revision, wanted.sealed["release"], returned)

    def look(self, wanted: Plan, plans: dict[str, Plan], trial: Trial, now: float) -> tuple[Verdict, list[str]]:
        """Judge, and do what follows. The apps of which another revision shall run now come with the verdict."""
        app, revision, sealed = wanted.app, wanted.revision, wanted.sealed
        if sealed is None or revision is None or not self._on_trial(wanted):
            self._remember(wanted, now)
            return Good(), []
        verdict = judge(trial, now)
        self._judged[app] = (revision, now, verdict)
        mates = [
            plans[mate] for mate in group_of(app, {a: mates_named(p) for a, p in plans.items() if self._on_trial(p)})
        ]
        match verdict:
            case Good() | Inconclusive():
                if late := [p.app for p in mates if self._passed(p, now) is None]:
                    return Hold(FOREVER, f"moves together with {', '.join(late)}, which is on trial"), []
                with self._journal.db.transaction():
                    for one in (wanted, *mates):
                        self._end(one, self._passed(one, now))
            case Bad() if wanted.kind != HELD:
                return verdict, self._return(
                    app, revision, sealed["release"], verdict, wanted=wanted, trial=trial, mates=mates
                )
            case _:
                pass
        return verdict, []

    def _passed(self, wanted: Plan, now: float) -> Good | Inconclusive | None:
        """What was said of it on this very turn, if its trial may end with that."""
        revision, when, verdict = self._judged.get(wanted.app, ("", 0.0, None))
        passed = (revision, when) == (wanted.revision, now) and isinstance(verdict, Good | Inconclusive)
        return verdict if passed and isinstance(verdict, Good | Inconclusive) else None

    def _end(self, wanted: Plan, verdict: Good | Inconclusive | None) -> None:
        """Its trial is over, and it runs on."""
        if wanted.sealed is None or wanted.revision is None or verdict is None:
            return
        figures = as_text(self._evidence.figures(wanted))
        if isinstance(verdict, Good):
            self._journal.proven(wanted.app, wanted.seal, wanted.sealed, figures)
        else:
            self._journal.unproven(wanted.app, wanted.seal, wanted.sealed, figures, verdict.reason)
            row = self._trial_of(wanted.app, wanted.revision)
            self._records.put_trial(row._replace(failed="", unproven=verdict.reason, code=verdict.code))

    def again(self, wanted: Plan, verdict: Verdict, now: float) -> float:
        """When to look at it again, if nothing happens before."""
        until = verdict.until if isinstance(verdict, Hold) else FOREVER
        if wanted.sealed is None or not self._on_trial(wanted) or not isinstance(verdict, Hold):
            return until
        return min(until, now + every(wanted.sealed["health_window_s"]))

    def _remember(self, wanted: Plan, now: float) -> None:
        """What the last good uses, for comparison with what comes after it."""
        row = self._records.app(wanted.app)
        if wanted.revision is None or wanted.revision != row.good_revision:
            return
        if now >= self._remembered.setdefault(wanted.app, now) + REMEMBER_EVERY_S:
            self._remembered[wanted.app] = now
            self._records.put_app(row._replace(good_figures=as_text(self._evidence.figures(wanted))))

    def _on_trial(self, wanted: Plan) -> bool:
        if wanted.revision is None or wanted.revision == self._records.app(wanted.app).good_revision:
            return False
        row = self._records.trial(wanted.app)
        return row is None or row.revision != wanted.revision or not row.unproven

    def _trial_of(self, app: str, revision: str) -> TrialRow:
        row = self._records.trial(app)
        return (
            row if row is not None and row.revision == revision else TrialRow(app, revision, self._boot, 1, self._since)
        )

    def doomed(self, app: str, entry: IndexedApp, observed: tuple[Seen, ...]) -> tuple[Seen, ...]:
        """Containers whose release was withdrawn."""
        return doomed(self._layout, entry, self._records.app(app), observed, self.withdrawn.get(app, {}))

    def _why_not_back(self, app: str) -> str:
        return returnable(self._layout, self._records.app(app), self.withdrawn.get(app, {}))

    def _return(
        self,
        app: str,
        revision: str,
        release: str,
        bad: Bad,
        *,
        wanted: Plan | None = None,
        trial: Trial | None = None,
        mates: Sequence[Plan] = (),
    ) -> list[str]:
        """Back to the last good, if there is one that can be started; else the failure is noted, once."""
        if not (why_not := self._why_not_back(app)):
            with self._journal.db.transaction():
                self._quarantine(self._barred(app, revision, release, bad, trial, wanted))
                return [app, *self._return_with(f"{app} {release}", bad, mates)]
        row = self._trial_of(app, revision)
        if not row.failed:
            with self._journal.db.transaction():
                self._records.put_trial(row._replace(failed=bad.reason, code=bad.code))
                self._journal.say(
                    "app.failed",
                    f"{app} {release} failed its trial: {bad.reason}; {why_not}, so it is tried on",
                    severity="error", app=app,
                )  # fmt: skip
        return []

    def _return_with(self, whom: str, bad: Bad, mates: Sequence[Plan]) -> list[str]:
        """Those that move together with one that goes back, as far as they can."""
        gone = []
        reason = "" if bad.code == "host-down" else f": {bad.reason}"  # of that each could have been the cause
        for one in mates:
            can = one.kind != HELD and not self._why_not_back(one.app)
            if can and one.sealed is not None and one.revision is not None:
                with_it = Bad(f"it moves together with {whom}{reason}", "group")
                self._quarantine(self._barred(one.app, one.revision, one.sealed["release"], with_it, None, one))
                gone.append(one.app)
        return gone

    def _barred(
        self, app: str, revision: str, release: str, bad: Bad, trial: Trial | None, wanted: Plan | None = None
    ) -> QuarantineRow:
        counted = self._counts(app, revision, trial)
        window = wanted.sealed["health_window_s"] if wanted is not None and wanted.sealed is not None else 0
        figures = as_text(self._evidence.figures(wanted)) if wanted is not None else ""
        return QuarantineRow(
            app, revision, release, bad.reason, JUDGE, self._wall(), counted.restarts, counted.oom_kills, window,
            bad.code, counted.exits, counted.failed_probes, figures,
        )  # fmt: skip

    def _quarantine(self, row: QuarantineRow) -> None:
        known = self._records.app(row.app)
        with self._journal.db.transaction():
            self._records.put_quarantine(row)
            self._records.put_app(known._replace(updated=""))  # that the last good runs again is told when it does
            self._records.end_trial(row.app)
            self._journal.say(
                "app.quarantined",
                f"{row.app} {row.release} is not started on this host any more: {row.reason};"
                f" {known.good_release} takes its place",
                severity="warn" if row.actor == OPERATOR else "error", app=row.app,
            )  # fmt: skip

    # -- operators on this host

    def roll_back(self, wanted: Plan) -> str:
        """To the last good now, by an operator. What was done, in words."""
        app, revision = wanted.app, wanted.revision
        row = self._records.app(app)
        if self._records.hold(app) is not None:
            raise ActError("it is held", element=app, hint=f"edge-daemon hold {app} --for off")
        if revision is None or wanted.sealed is None:
            raise ActError("nothing of it can be run", element=app)
        if revision == row.good_revision:
            raise ActError(
                f"{row.good_release} is its last good, and nothing earlier is kept on this host", element=app
            )
        if why := self._why_not_back(app):
            raise ActError(why, element=app)
        release = wanted.sealed["release"]
        by_hand = Bad("an operator on this host went back", "operator")
        self._quarantine(self._barred(app, revision, release, by_hand, None, wanted)._replace(actor=OPERATOR))
        return f"{app} goes back from {release} to {row.good_release}"

    def hold(self, wanted: Plan, length: int, now: float) -> str:
        """Keep what the app runs for so many seconds, whatever arrives and however it fares."""
        if wanted.revision is None or wanted.sealed is None:
            raise ActError("nothing of it can be run", element=wanted.app)
        if not 1 <= length <= MOST_HELD_S:
            raise ActError(f"a hold is between 1 s and {MOST_HELD_S // 86400} d long", element=wanted.app)
        release, until = wanted.sealed["release"], self._wall() + length
        row = HoldRow(wanted.app, wanted.revision, wanted.seal, release, until, length, self._boot, now + length)
        text = f"{wanted.app} is held at {release} until {at(until)} by an operator on this host"
        with self._journal.db.transaction():
            self._records.put_hold(row)
            self._journal.say("app.held", text, severity="warn", app=wanted.app)
        return text

    def release(self, app: str, why: str) -> str:
        """End a hold."""
        if self._records.hold(app) is None:
            raise ActError("it is not held", element=app)
        text = f"{app} is not held any more: {why}"
        with self._journal.db.transaction():
            self._records.end_hold(app)
            self._journal.say("app.released", text, app=app)
        return text

    def lift(self, app: str) -> str:
        """End the quarantine of an app's revisions; the one that is desired gets a new trial."""
        if not self._records.any_quarantined(app):
            raise ActError("no revision of it is quarantined", element=app)
        with self._journal.db.transaction():
            rows = self._records.lift(app)
            text = f"{app} {', '.join(sorted({r.release for r in rows}))} may be started again: lifted by an operator"
            self._journal.say("app.lifted", text, app=app)
        return text

    def expired(self, now: float) -> list[str]:
        """Apps whose hold has just ended."""
        over = [row.app for row in self._records.holds() if now >= row.until_boottime]
        for app in over:
            self.release(app, "its time is over")
        return over

    def next_expiry(self) -> float:
        """When the next hold ends."""
        return min((row.until_boottime for row in self._records.holds()), default=FOREVER)

    # -- for reports

    def standing(self, wanted: Plan, entry: IndexedApp, verdict: Verdict, trial: Trial | None) -> Standing:
        """How the desired revision stands."""
        app, window = wanted.app, wanted.sealed["health_window_s"] if wanted.sealed is not None else 0
        known, revision = self._records.app(app), wanted.revision or ""
        barred = self._records.quarantined(app, entry["revision"])
        if barred is not None and wanted.kind not in (HELD, ASKING, VETOED):
            counted = Counts(barred.restarts, barred.oom_kills, barred.exits, barred.failed_probes)
            now, before = of_text(barred.figures), of_text(known.good_figures)
            reason, length = barred.reason, barred.window_s
            return Standing("bad", reason, barred.revision, length, counted, barred.code, now, before)
        before = of_text(known.earlier_figures if revision == known.good_revision else known.good_figures)
        mine = Standing("good", "", revision, window, self._counts(app, revision, trial))
        mine = mine._replace(now=self._evidence.figures(wanted), before=before)
        if wanted.kind in (ASKING, VETOED):
            return mine._replace(state="held", reason=wanted.why, code="held")
        row = self._records.trial(app)
        row = row if row is not None and row.revision == revision else None
        if (held := self._records.hold(app)) is not None and wanted.kind == HELD:
            return mine._replace(state="held", reason=f"until {at(held.until)}", revision=held.revision, code="held")
        if row is not None and row.unproven:
            return mine._replace(state="inconclusive", reason=row.unproven, code=row.code)
        if row is not None and row.failed:
            return mine._replace(state="failed", reason=row.failed, code=row.code)
        return mine._replace(state="trial", reason=verdict.why) if isinstance(verdict, Hold) else mine

    def _counts(self, app: str, revision: str, trial: Trial | None) -> Counts:
        return counts(trial, self._records.services(app, revision))


def carried_over(row: HoldRow, boot: str, now: float, wall: int) -> HoldRow:
    """A hold in another boot: what is left of it by the wall clock, or all of it where that clock cannot be right."""
    if row.boot == boot:
        return row
    left = row.until - wall
    left = min(left, row.length)
    return row._replace(boot=boot, until_boottime=now + max(0, left))
