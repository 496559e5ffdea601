"""Carrying out what `supervise` decides: observe, decide, act, look again. Nothing here waits.

Starting and removing are child processes; one that hangs holds up its own container and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge_daemon.keeper.acts import Acts
from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import NEVER, boottime, wall
from edge_daemon.keeper.ends import Ends
from edge_daemon.keeper.errands import whole
from edge_daemon.keeper.failing import Failing
from edge_daemon.keeper.hooks import Hooks
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.plans import UNREADABLE, WITHDRAWN, Plan, leaving_units
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.probes import UNHEALTHY
from edge_daemon.keeper.probing import Probes
from edge_daemon.keeper.reactor import Reactor
from edge_daemon.keeper.standing import Standing
from edge_daemon.keeper.supervise import Past, Unit, Wait, Wanted, in_other_slot, supervise
from edge_daemon.keeper.trials import Trials
from edge_daemon.keeper.tuner import Tuner
from edge_daemon.keeper.unready import Unready
from edge_daemon.keeper.upkeep import Withdrawn
from edge_daemon.keeper.vetoes import Vetoes
from edge_daemon.layout import Layout
from edge_daemon.sealed import Index, IndexedApp
from edge_daemon.slots import shown

LOOK_EVERY_S = 15.0


class View(NamedTuple):
    """One app as it is just now, for reports and people."""

    plan: Plan
    seen: dict[str, Seen]
    past: dict[str, Past]
    waits: dict[str, str]  # service -> why nothing is done for it
    acting: frozenset[str] = frozenset()  # a child is at work on it
    stopping: frozenset[str] = frozenset()
    leaving: bool = False  # containers of another revision are still there
    health: dict[str, tuple[str, str]] = {}  # service -> what its probe says, and why
    ready: dict[str, tuple[bool, str]] = {}  # service with a readiness of its own -> whether, and why not
    standing: Standing | None = None  # of the desired revision; None where nothing of it can be run


class Supervisor:
    """All apps of this host."""

    def __init__(
        self,
        layout: Layout,
        machine: Machine,
        journal: Journal,
        reactor: Reactor,
        children: Children,
        *,
        boot: str,
        chance: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.plans: dict[str, Plan] = {}  # what is followed: what was chosen, but for what apps veto
        self._chosen: dict[str, Plan] = {}
        self.views: dict[str, View] = {}
        self._layout = layout
        self._machine = machine
        self._journal = journal
        self._tuner = Tuner(layout, journal)
        self._reactor = reactor
        self._children = children
        self._changed = changed
        self.trials = Trials(layout, journal, machine.runtime, boot=boot, now=boottime(), wall=wall)
        self._entries: dict[str, IndexedApp] = {}
        self._look_at = [0.0]
        self._ends = Ends(machine.runtime, reactor, self._look_at_time)
        self._probes = Probes(machine, reactor, children, changed=self.look)
        self._failing = Failing(journal)
        self._unready = Unready(journal)
        hooks = Hooks(machine, children, journal)
        self.vetoes = Vetoes(layout, journal, hooks, boot=boot, wall=wall, look=self.look)
        self._acts = Acts(
            machine, journal, children, self.trials, self._tuner, self._failing, hooks,
            boot=boot, chance=chance, look=self.look,
        )  # fmt: skip
        self._leaving: dict[tuple[str, str], dict[str, Unit]] = {}

    # -- what shall run

    def want(self, index: Index, withdrawn: Withdrawn | None = None) -> None:
        """Run this generation, but for what was withdrawn. Apps whose revision is the same are not touched."""
        self.trials.withdrawn = withdrawn or {}
        self._acts.log_bytes = index["settings"].get("log_bytes_per_container", 1 << 20)
        self._entries = dict(index["apps"])
        self.trials.went_down(self._entries)
        plans = {app: self.trials.plan(app, entry) for app, entry in self._entries.items()}
        for app, new in plans.items():
            old = self._chosen.get(app)
            if new.why and (new.kind == UNREADABLE if old is None else old.why != new.why):
                self._journal.say("app.deviates", f"{app}: {new.why}", severity="error", app=app)
        self._chosen, self.plans = plans, dict(plans)
        self.look()

    def replan(self, app: str) -> None:
        """What shall run of one app has changed on this host."""
        for one in {app, *self.trials.went_down(self._entries)} & self._entries.keys():
            self._chosen[one] = self.plans[one] = self.trials.plan(one, self._entries[one])
        self.look()

    def look(self) -> None:
        """Something may have changed: look on this turn."""
        self._look_at.append(0.0)

    def _look_at_time(self, at: float) -> None:
        self._look_at.append(at)

    def kept_revisions(self) -> set[tuple[str, str]]:
        """What the garbage collector must leave: what runs, what shall run, what the app would go back to."""
        kept = {(app, one.revision) for app, view in self.views.items() for one in view.seen.values()}
        kept |= {(app, p.revision) for app, p in self.plans.items() if p.revision is not None}
        kept |= self.vetoes.held()
        kept |= {(app, entry["revision"]) for app, entry in self._entries.items()}  # a quarantine may be lifted
        return kept | self._journal.records.good()

    def unit(self, app: str, service: str) -> str:
        """What a service is called on this host in the revision that is wanted."""
        plan = self.plans.get(app)
        return next((unit.name for unit in plan.units if shown(unit.name) == service), service) if plan else service

    def running_revisions(self) -> dict[str, str]:
        """App -> what runs of it now; while two do, the earlier one."""
        out: dict[str, str] = {}
        for app, view in self.views.items():
            running = {one.revision for one in view.seen.values() if one.pid is not None}
            earlier = running - {view.plan.revision}
            if running:
                out[app] = min(earlier or running)
        return out

    # -- the loop's side

    def step(self, now: float) -> float:
        """Look and act when it is time. When to look again."""
        probes_due = self._probes.step(now)
        if now < (due := min(self._look_at)):
            return min(due, probes_due)
        self._look_at = [at for at in self._look_at if at > now]
        for app in self.trials.expired(now):
            self.replan(app)
        observed = self._machine.runtime.seen()
        by_app: dict[str, list[Seen]] = {}
        for one in observed:
            by_app.setdefault(one.app, []).append(one)
        self._ends.watch(observed, self._acts.busy)
        self.views = {app: view for app, view in self.views.items() if app in self.plans or app in by_app}
        again = min(now + LOOK_EVERY_S, self.trials.next_expiry(), self.vetoes.next_due())
        for app in sorted({*self.plans, *by_app, *self._journal.records.known()}):
            again = min(again, self._app(app, tuple(by_app.get(app, [])), now))
        self._look_at.append(again)
        self._changed()
        return min(*self._look_at, self._probes.step(now))

    def _app(self, app: str, observed: tuple[Seen, ...], now: float) -> float:
        if app in self._chosen:
            self.plans[app] = self._gate(self._chosen[app], observed, now)
        wanted_plan = self.plans.get(app) or Plan(app, "", None, "", None, (), "is not wanted any more")
        if app in self.plans and wanted_plan.revision is None and wanted_plan.kind != WITHDRAWN:
            # Its revision cannot be read, nor its last good: what runs, runs on, but for what its signers withdrew.
            self.views[app] = View(wanted_plan, {s.service: s for s in observed}, {}, {})
            if not (observed := self.trials.doomed(app, self._entries[app], observed)):
                return NEVER
        observed = tuple(filter(None, (whole(one, wanted_plan.revision) for one in observed)))
        wanted = self._wanted(app, wanted_plan, observed, now)
        release = wanted_plan.sealed["release"] if wanted_plan.sealed is not None else ""
        for one in observed:
            if one.revision == wanted.revision and one.pid is not None and (app, one.service) not in self._acts.busy:
                self._tuner.note(wanted_plan, one)
                self._journal.running(one, release)
        seen = {one.service: one for one in observed}
        waits: dict[str, str] = {}
        again = NEVER
        for action in supervise(observed, wanted, now):
            if isinstance(action, Wait):
                waits[action.service] = action.why
                again = min(again, action.until if action.until is not None else NEVER)
            else:
                self._acts.do(app, action, wanted_plan, wanted, seen, now)
        foreign = {one.service for one in observed if one.revision != wanted.revision}
        spared = in_other_slot(foreign, wanted) if wanted.handed is None else set[str]()
        leaving = bool(foreign - spared)
        judged, standing = self._judge(
            wanted_plan, wanted, tuple(one for one in observed if one.service not in spared), waits, now
        )
        again = min(again, judged)
        if app not in self.plans and not observed and not self._acts.at_work_on(app):
            self._gone(app, now)
        elif app in self.plans:
            self.views[app] = View(
                wanted_plan,
                seen,
                wanted.past,
                waits,
                self._acts.at_work_on(app),
                frozenset(wanted.stopping),
                leaving,
                self._probes.words(app) | {s: (UNHEALTHY, why) for s, why in wanted.failing.items()},
                self._probes.ready(app),
                standing,
            )
        return again

    def _gate(self, chosen: Plan, observed: tuple[Seen, ...], now: float) -> Plan:
        """The chosen plan, unless its app does not let itself be stopped for it now."""
        foreign = {one.service for one in observed if one.pid is not None and one.revision != chosen.revision}
        stops = bool(foreign - self._tuner.tunable(chosen, observed))
        if chosen.app in self.trials.withdrawn and self.trials.doomed(chosen.app, self._entries[chosen.app], observed):
            self.vetoes.forget(chosen.app)  # what its signers withdrew does not run on, whatever it says
            return chosen
        return self.vetoes.gate(chosen, observed, now, stops=stops)

    def _wanted(self, app: str, wanted: Plan, observed: tuple[Seen, ...], now: float) -> Wanted:
        leaving: dict[str, Unit] = {}
        for one in observed:
            if one.revision != wanted.revision:
                if (app, one.revision) not in self._leaving:
                    self._leaving = {k: u for k, u in self._leaving.items() if k[0] != app}
                    self._leaving[app, one.revision] = leaving_units(self._layout, app, one.revision)
                leaving |= self._leaving[app, one.revision]
        past = {unit.name: self._acts.past(app, unit.name, wanted.revision or "") for unit in wanted.units}
        stopping = self._acts.stopping(app, observed)
        opinion = self._probes.watch(app, wanted.sealed, wanted.seal, observed, stopping=stopping, now=now)
        is_ready = {service for service, (ready, _) in self._probes.ready(app).items() if ready}
        self._unready.look(app, opinion.unready, is_ready, now)
        failing = self._failing.among(observed, wanted.revision, wanted.units, opinion.failing)
        said = failing.keys() | {s for s in opinion.silent if past[s].finished == 0}
        return Wanted(
            revision=wanted.revision,
            units=wanted.units,
            past=past,
            probed=opinion.probed | said,
            silent=opinion.silent - said,
            healthy=opinion.healthy | (said - failing.keys()),
            failing=failing,
            unready=opinion.unready,
            leaving=leaving,
            stopping=stopping,
            busy=self._acts.at_work_on(app),
            not_before=self._acts.not_before(app),
            beside=wanted.kind == "" and wanted.sealed is not None and wanted.sealed.get("strategy") == "start-first",
            handed=self._acts.handed(app, wanted.revision),
            tunable=self._tuner.tunable(wanted, observed),
        )

    def _gone(self, app: str, now: float) -> None:
        """Nothing of it is left: forget it, and take down its network and groups."""
        self.views.pop(app, None)
        self._tuner.forget(app)
        self._probes.forget(app)
        self._failing.forget(app)
        self._unready.forget(app)
        self.vetoes.forget(app)
        self._acts.forget(app)
        if app in self._journal.records.known():
            self._journal.removed(app)
        self._acts.prune(set(self.plans), now)

    # -- judging

    def _judge(
        self, wanted_plan: Plan, wanted: Wanted, observed: tuple[Seen, ...], waits: dict[str, str], now: float
    ) -> tuple[float, Standing | None]:
        """Announce a revision that runs whole, and let `trials` judge it. When to look again, and how it stands."""
        app, entry = wanted_plan.app, self._entries.get(wanted_plan.app)
        if wanted_plan.sealed is None or wanted_plan.revision is None or entry is None:
            return NEVER, None
        stuck = self._acts.stuck(app, wanted.revision)
        trial = self.trials.facts(wanted_plan, wanted, observed, stuck, now)
        if not waits and not wanted.busy:
            self.trials.announce(wanted_plan, trial)
        said, elsewhere = self.trials.look(wanted_plan, self.plans, trial, now)
        for one in elsewhere:
            self.replan(one)
        return self.trials.again(wanted_plan, said, now), self.trials.standing(wanted_plan, entry, said, trial)

    def close(self) -> None:
        """Let go of the containers; they run on."""
        self._ends.close()
