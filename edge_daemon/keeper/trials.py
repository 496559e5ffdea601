"""What follows from `judge`: trials are counted, revisions become last good or are quarantined, operators' acts count.

Everything that is decided is durable, with the event that tells it, in one transaction: a keeper that is killed
between two of them finds the same facts and decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_daemon.keeper.clock import TICKS_PER_SECOND, at
from edge_daemon.keeper.errors import ActError
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.judge import (
    FOREVER,
    MOST_TRIES,
    Bad,
    Facts,
    Good,
    Hold,
    ProbeWord,
    Trial,
    Verdict,
    judge,
    patience,
)
from edge_daemon.keeper.plans import ASKING, HELD, RETURNED, ROLLED_BACK, VETOED, Plan, doomed, plan, returnable
from edge_daemon.keeper.ports import Runtime, Seen
from edge_daemon.keeper.records import JUDGE, OPERATOR, HoldRow, QuarantineRow, TrialRow
from edge_daemon.keeper.supervise import Wanted
from edge_daemon.keeper.upkeep import Withdrawn, words
from edge_daemon.layout import Layout
from edge_daemon.sealed import IndexedApp

MOST_HELD_S = 90 * 86400
SURVIVED_S = 1.5


class Standing(NamedTuple):
    """How the revision that is desired stands on this host, for reports and rollouts."""

    state: str  # trial | good | bad | failed | held
    reason: str
    revision: str
    window_s: int
    restarts: int
    oom_kills: int


class Trials:
    """The judging of every app of this host."""

    def __init__(
        self, layout: Layout, journal: Journal, runtime: Runtime, *, boot: str, now: float, wall: Callable[[], int]
    ) -> None:
        self.withdrawn: Withdrawn = {}
        self._layout = layout
        self._journal = journal
        self._records = journal.records
        self._runtime = runtime
        self._boot = boot
        self._since = now
        self._wall = wall
        self._judged: dict[str, tuple[str, float, Verdict]] = {}  # app -> (revision, when, what was said)
        self._now = now  # of the last look
        self._killing_since: dict[tuple[str, str], float] = {}
        self._killed_before: dict[tuple[str, str], tuple[int | None, int]] = {}
        for row in self._records.holds():
            if (moved := carried_over(row, boot, now, wall())) != row:
                self._records.put_hold(moved)

    # -- what shall run

    def plan(self, app: str, entry: IndexedApp) -> Plan:
        """What to run of an app, after what is known of its revisions."""
        held, withdrawn = self._records.hold(app), self.withdrawn.get(app, {})
        if held is not None and held.release in withdrawn:
            self.release(app, words(held.release, withdrawn[held.release]))
            held = None
        row = self._records.trial(app)
        if (
            held is None
            and row is not None
            and (row.revision, row.boot != self._boot) == (entry["revision"], True)
            and row.tries >= MOST_TRIES
        ):
            self._return(app, entry["revision"], entry["release"], "the host went down twice while it was on trial")
        barred = self._records.quarantined(app, entry["revision"])
        return plan(self._layout, app, entry, self._records.app(app), barred, held, withdrawn)

    def not_before(self, app: str, revision: str) -> float:
        """When a candidate that was there when the host went down may be started in this boot."""
        row = self._records.trial(app)
        return patience(row.tries) if row and row.revision == revision and row.boot != self._boot else 0.0

    def starting(self, wanted: Plan, now: float) -> None:
        """A container of it is about to be started: if that is one more try, count it first."""
        revision, app = wanted.revision, wanted.app
        if revision is None or wanted.sealed is None or revision == self._records.app(app).good_revision:
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
        self._now = now
        sealed, revision, app = wanted_plan.sealed, wanted_plan.revision or "", wanted_plan.app
        assert sealed is not None
        seen = {one.service: one for one in observed if one.pid is not None and one.revision == revision}
        if seen:
            self.starting(wanted_plan, now)  # nothing if it was counted; else our notes of it were lost
        row = self._records.trial(app)
        mine = row is not None and row.revision == revision
        return Trial(
            begun=row.begun if row is not None and mine and row.boot == self._boot else None,
            window_s=float(sealed["health_window_s"]),
            max_restarts=sealed["max_restarts"],
            services=tuple(
                self._service(app, revision, service["name"], seen, wanted, stuck, "probe" in service)
                for service in sealed["services"]
            ),
            alone=all(one.revision == revision for one in observed),
            watched_since=self._since,
            pardoned=bool(row is not None and mine and row.failed),
        )

    def _service(
        self,
        app: str,
        revision: str,
        name: str,
        seen: dict[str, Seen],
        wanted: Wanted,
        stuck: dict[str, str],
        probed: bool,
    ) -> Facts:
        row, one = self._records.service(app, name, revision), seen.get(name)
        up = one.start_ticks / TICKS_PER_SECOND if one is not None and one.start_ticks is not None else None
        now = self._kills(one, up or 0.0) if one is not None else 0
        probe: ProbeWord = "silent" if probed else "none"
        if name in wanted.probed:
            probe = "healthy" if name in wanted.healthy else "unhealthy" if name in wanted.failing else "silent"
        finished = wanted.past[name].finished if name in wanted.past else None
        return Facts(
            name,
            up_since=None if name in wanted.busy else up,
            completed=finished == 0,
            gave_up=finished or None,
            stuck=stuck.get(name, ""),
            restarts=row.restarts,
            oom_kills=max(row.oom_kills, now),
            oom_kills_now=now,
            probe=probe,
            ill=wanted.failing.get(name, ""),
        )

    def announce(self, wanted: Plan, trial: Trial) -> None:
        """Say that a revision runs whole, the first time that it does."""
        whole = trial.alone and all(one.up_since is not None or one.completed for one in trial.services)
        if whole and wanted.revision is not None and wanted.sealed is not None:
            returned = wanted.why if wanted.kind in (RETURNED, ROLLED_BACK) else ""
            self._journal.updated(wanted.app, wanted.revision, wanted.sealed["release"], returned)

    def _kills(self, one: Seen, up: float) -> int:
        """What the kernel killed in the container that runs; not what it did before its limits alone were changed."""
        count = self._runtime.usage(one.app, one.service).oom_kills or 0
        row = self._records.trial(one.app)
        key = (one.app, one.service)
        if (known := self._killed_before.get(key)) is None or known[0] != one.start_ticks:
            known = one.start_ticks, count if row is not None and up < row.begun - 1 else 0
            self._killed_before[key] = known
        if count == known[1]:
            self._killing_since.pop(key, None)
        # A container that ends of it is settled first, and that tells the story; what survives it counts a little later
        elif self._now >= self._killing_since.setdefault(key, self._now) + SURVIVED_S:
            return count - known[1]
        return 0

    def look(self, wanted: Plan, plans: dict[str, Plan], trial: Trial, now: float) -> tuple[Verdict, list[str]]:
        """Judge, and do what follows. The apps of which another revision shall run now come with the verdict."""
        app, revision, sealed = wanted.app, wanted.revision, wanted.sealed
        if sealed is None or revision is None or not self._on_trial(wanted):
            return Good(), []
        verdict = judge(trial, now)
        self._judged[app] = (revision, now, verdict)
        mates = [plans[mate] for mate in group_of(app, {a: _group(p) for a, p in plans.items() if self._on_trial(p)})]
        match verdict:
            case Good():
                late = [p.app for p in mates if self._judged.get(p.app) != (p.revision, now, verdict)]
                if late:
                    return Hold(FOREVER, f"moves together with {', '.join(late)}, which is on trial"), []
                with self._journal.db.transaction():
                    for one in (wanted, *mates):
                        if one.sealed is not None:
                            self._journal.proven(one.app, one.seal, one.sealed)
            case Bad(reason) if wanted.kind != HELD:
                return verdict, self._return(app, revision, sealed["release"], reason, trial, mates)
            case _:
                pass
        return verdict, []

    def _on_trial(self, wanted: Plan) -> bool:
        return wanted.revision is not None and wanted.revision != self._records.app(wanted.app).good_revision

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
        reason: str,
        trial: Trial | None = None,
        mates: Sequence[Plan] = (),
    ) -> list[str]:
        """Back to the last good, if there is one that can be started; else the failure is noted, once."""
        if not (why_not := self._why_not_back(app)):
            counts, window = _counts(trial), int(trial.window_s) if trial is not None else 0
            with self._journal.db.transaction():
                self._quarantine(QuarantineRow(app, revision, release, reason, JUDGE, self._wall(), *counts, window))
                return [app, *self._return_with(f"{app} {release}", reason, mates)]
        row = self._records.trial(app)
        if row is None or row.revision != revision:
            row = TrialRow(app, revision, self._boot, 1, self._since)
        if not row.failed:
            with self._journal.db.transaction():
                self._records.put_trial(row._replace(failed=reason))
                self._journal.say(
                    "app.failed",
                    f"{app} {release} failed its trial: {reason}; {why_not}, so it is tried on",
                    severity="error", app=app,
                )  # fmt: skip
        return []

    def _return_with(self, whom: str, reason: str, mates: Sequence[Plan]) -> list[str]:
        """Those that move together with one that goes back, as far as they can."""
        gone = []
        for one in mates:
            can = one.kind != HELD and not self._why_not_back(one.app)
            if can and one.sealed is not None and one.revision is not None:
                release, window = one.sealed["release"], one.sealed["health_window_s"]
                why = f"it moves together with {whom}: {reason}"
                self._quarantine(
                    QuarantineRow(one.app, one.revision, release, why, JUDGE, self._wall(), window_s=window)
                )
                gone.append(one.app)
        return gone

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
        reason = "an operator on this host went back"
        window = wanted.sealed["health_window_s"]
        self._quarantine(QuarantineRow(app, revision, release, reason, OPERATOR, self._wall(), window_s=window))
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
        barred = self._records.quarantined(app, entry["revision"])
        revision, counts = wanted.revision or "", _counts(trial)
        if (held := self._records.hold(app)) is not None and wanted.kind == HELD:
            return Standing("held", f"until {at(held.until)}", held.revision, window, *counts)
        if wanted.kind in (ASKING, VETOED):
            return Standing("held", wanted.why, revision, window, *counts)
        if barred is not None:
            return Standing("bad", barred.reason, barred.revision, barred.window_s, barred.restarts, barred.oom_kills)
        row = self._records.trial(app)
        if row is not None and row.revision == revision and row.failed:
            return Standing("failed", row.failed, revision, window, *counts)
        if isinstance(verdict, Hold):
            return Standing("trial", verdict.why, revision, window, *counts)
        return Standing("good", "", revision, window, *counts)


def group_of(app: str, groups: dict[str, frozenset[str]]) -> list[str]:
    """The other apps that move together with one: those that it names, those that name it, and theirs in turn."""
    found, waiting = {app}, [app]
    while waiting:
        one = waiting.pop()
        near = {a for a, names in groups.items() if one in names} | (groups.get(one, frozenset()) & groups.keys())
        waiting += near - found
        found |= near
    return sorted(found - {app})


def _group(wanted: Plan) -> frozenset[str]:
    return frozenset(wanted.sealed["group"]) if wanted.sealed is not None else frozenset()


def carried_over(row: HoldRow, boot: str, now: float, wall: int) -> HoldRow:
    """A hold in another boot: what is left of it by the wall clock, or all of it where that clock cannot be right."""
    if row.boot == boot:
        return row
    left = row.until - wall
    left = min(left, row.length)
    return row._replace(boot=boot, until_boottime=now + max(0, left))


def _counts(trial: Trial | None) -> tuple[int, int]:
    services = trial.services if trial is not None else ()
    return sum(one.restarts for one in services), sum(one.oom_kills for one in services)
