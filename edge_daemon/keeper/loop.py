"""Carrying out what `supervise` decides: observe, decide, act, look again. Nothing here waits.

Starting and removing are child processes; one that hangs holds up its own container and nobody else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import NEVER, TICKS_PER_SECOND, boottime
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.plans import Plan, leaving_units, plan
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.reactor import Reactor
from edge_daemon.keeper.supervise import (
    Action,
    Clear,
    Kill,
    Past,
    Settle,
    Start,
    Stop,
    Unit,
    Wait,
    Wanted,
    after_exit,
    after_failed_start,
    proven,
    supervise,
)
from edge_daemon.layout import Layout
from edge_daemon.sealed import Index
from fleet_protocol.wire.errors import RoadsteadError

LOOK_EVERY_S = 15.0
CHILD_SECONDS = 60.0
AFTER_END = (0.05, 0.3, 1.2)  # conmon writes the exit code a little after the end
FAILED_REMOVE_S = 5.0

Key = tuple[str, str]


class View(NamedTuple):
    """One app as it is just now, for reports and people."""

    plan: Plan
    seen: dict[str, Seen]
    past: dict[str, Past]
    waits: dict[str, str]  # service -> why nothing is done for it
    acting: frozenset[str]  # a child is at work on it
    stopping: frozenset[str]
    leaving: bool  # containers of another revision are still there


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
        self.plans: dict[str, Plan] = {}
        self.views: dict[str, View] = {}
        self._layout = layout
        self._machine = machine
        self._journal = journal
        self._reactor = reactor
        self._children = children
        self._boot = boot
        self._chance = chance
        self._changed = changed
        self._log_bytes = 1 << 20
        self._look_at = [0.0]
        self._busy: dict[Key, str] = {}
        self._due: dict[Key, tuple[str, float]] = {}  # (revision, not started before)
        self._failures: dict[Key, tuple[str, int]] = {}  # of starts, in this revision
        self._not_before: dict[Key, float] = {}
        self._stopping: dict[Key, float] = {}
        self._handles: dict[Key, tuple[int, int]] = {}  # (pid, descriptor)
        self._leaving: dict[tuple[str, str], dict[str, Unit]] = {}
        self._pruning = False

    # -- what shall run

    def want(self, index: Index) -> None:
        """Run this generation. Apps whose revision is the same are not touched."""
        self._log_bytes = index["settings"].get("log_bytes_per_container", 1 << 20)
        records = self._journal.records
        plans = {app: plan(self._layout, app, entry, records.app(app)) for app, entry in index["apps"].items()}
        for app, new in plans.items():
            old = self.plans.get(app)
            if new.why and (old is None or old.why != new.why):
                self._journal.say("app.deviates", f"{app}: {new.why}", severity="error", app=app)
        self.plans = plans
        self.look()

    def look(self) -> None:
        """Something may have changed: look on this turn."""
        self._look_at.append(0.0)

    def kept_revisions(self) -> set[tuple[str, str]]:
        """What the garbage collector must leave: what runs, what shall run, what the app would go back to."""
        kept = {(app, one.revision) for app, view in self.views.items() for one in view.seen.values()}
        kept |= {(app, p.revision) for app, p in self.plans.items() if p.revision is not None}
        return kept | self._journal.records.good()

    # -- the loop's side

    def step(self, now: float) -> float:
        """Look and act when it is time. When to look again."""
        if now < (due := min(self._look_at)):
            return due
        self._look_at = [at for at in self._look_at if at > now]
        observed = self._machine.runtime.seen()
        by_app: dict[str, list[Seen]] = {}
        for one in observed:
            by_app.setdefault(one.app, []).append(one)
        self._watch_ends(observed)
        self.views = {app: view for app, view in self.views.items() if app in self.plans or app in by_app}
        again = now + LOOK_EVERY_S
        for app in sorted({*self.plans, *by_app, *self._journal.records.known()}):
            again = min(again, self._app(app, tuple(by_app.get(app, [])), now))
        self._look_at.append(again)
        self._changed()
        return min(self._look_at)

    def _app(self, app: str, observed: tuple[Seen, ...], now: float) -> float:
        wanted_plan = self.plans.get(app) or Plan(app, "", None, "", None, (), "is not wanted any more")
        if app in self.plans and wanted_plan.revision is None:
            # Its revision cannot be read, nor its last good: what runs, runs on.
            self.views[app] = View(wanted_plan, {s.service: s for s in observed}, {}, {}, *_NOTHING)
            return NEVER
        observed = tuple(filter(None, (_whole(one, wanted_plan.revision) for one in observed)))
        wanted = self._wanted(app, wanted_plan, observed)
        release = wanted_plan.sealed["release"] if wanted_plan.sealed is not None else ""
        for one in observed:
            if one.revision == wanted.revision and one.pid is not None and (app, one.service) not in self._busy:
                self._journal.running(one, release)
        seen = {one.service: one for one in observed}
        waits: dict[str, str] = {}
        again = NEVER
        for action in supervise(observed, wanted, now):
            if isinstance(action, Wait):
                waits[action.service] = action.why
                again = min(again, action.until if action.until is not None else NEVER)
            else:
                self._do(app, action, wanted_plan, wanted, seen, now)
        leaving = any(one.revision != wanted.revision for one in observed)
        again = min(again, self._judge(wanted_plan, wanted, observed, waits, now))
        if app not in self.plans and not observed and not any(key[0] == app for key in self._busy):
            self._gone(app, now)
        elif app in self.plans:
            self.views[app] = View(
                wanted_plan,
                seen,
                wanted.past,
                waits,
                frozenset(service for other, service in self._busy if other == app),
                frozenset(wanted.stopping),
                leaving,
            )
        return again

    def _wanted(self, app: str, wanted: Plan, observed: tuple[Seen, ...]) -> Wanted:
        present = {one.service for one in observed if one.pid is not None}
        for key in [k for k in self._stopping if k[0] == app and k[1] not in present]:
            del self._stopping[key]
        leaving: dict[str, Unit] = {}
        for one in observed:
            if one.revision != wanted.revision:
                if (app, one.revision) not in self._leaving:
                    self._leaving = {k: u for k, u in self._leaving.items() if k[0] != app}
                    self._leaving[app, one.revision] = leaving_units(self._layout, app, one.revision)
                leaving |= self._leaving[app, one.revision]
        return Wanted(
            revision=wanted.revision,
            units=wanted.units,
            past={unit.name: self._past(app, unit.name, wanted.revision or "") for unit in wanted.units},
            leaving=leaving,
            stopping={s: until for (a, s), until in self._stopping.items() if a == app},
            busy=frozenset(s for a, s in self._busy if a == app),
            not_before={s: at for (a, s), at in self._not_before.items() if a == app},
        )

    def _past(self, app: str, service: str, revision: str) -> Past:
        row = self._journal.records.service(app, service, revision)
        # What gave up in an earlier boot gets another chance in this one; what has completed stays so.
        finished = row.finished if row.finished == 0 or row.boot == self._boot else None
        failed_revision, failed = self._failures.get((app, service), ("", 0))
        failures = row.failures + (failed if failed_revision == revision else 0)
        due_revision, due = self._due.get((app, service), ("", 0.0))
        return Past(row.restarts, failures, due if due_revision == revision else 0.0, finished)

    # -- acting

    def _do(
        self, app: str, action: Action, wanted_plan: Plan, wanted: Wanted, seen: dict[str, Seen], now: float
    ) -> None:
        service = action.service
        key = (app, service)
        match action:
            case Start():
                if wanted_plan.revision is not None:
                    revision, seal = wanted_plan.revision, wanted_plan.seal
                    command = self._machine.start(app, service, revision, seal, self._log_bytes)
                    self._spawn(key, "start", command, now)
            case Stop(_, signal, grace):
                self._stopping[key] = now + grace
                self.look()
                try:
                    self._machine.runtime.signal(app, service, signal)
                except RoadsteadError as error:
                    _log(error.sentence())
                    self._stopping[key] = now
            case Kill():
                self._journal.stopped(seen[service], killed=True)
                self._spawn(key, "remove", self._machine.remove(app, service), now)
            case Clear():
                self._journal.stopped(seen[service], killed=False)
                self._spawn(key, "remove", self._machine.remove(app, service), now)
            case Settle():
                self._settle(key, wanted, seen[service], now)
                self._spawn(key, "remove", self._machine.remove(app, service), now)

    def _settle(self, key: Key, wanted: Wanted, seen: Seen, now: float) -> None:
        unit = next(unit for unit in wanted.units if unit.name == key[1])
        ran = now - seen.start_ticks / TICKS_PER_SECOND if seen.start_ticks is not None else 0.0
        row = self._journal.records.service(seen.app, seen.service, seen.revision)
        before = Past(row.restarts, row.failures)
        past = after_exit(unit, before, exit_code=seen.exit_code, ran_s=ran, now=now, chance=self._chance())
        if self._journal.ended(seen, past, ran):
            self._due[key] = (seen.revision, past.due)

    def _spawn(self, key: Key, verb: str, command: list[str], now: float) -> None:
        last: list[bytes] = []
        revision = running.revision if (running := self.plans.get(key[0])) is not None else None

        def heard(line: bytes) -> None:
            last[:] = [line]

        def ended(status: int) -> None:
            self._busy.pop(key, None)
            self._finished(key, verb, revision or "", _failure(last, status))

        try:
            self._children.spawn(command, heard, ended, now=now, deadline=CHILD_SECONDS)
        except OSError as error:
            self._finished(key, verb, revision or "", {"sentence": f"{command[0]}: {error.strerror}", "retry": True})
            return
        self._busy[key] = verb

    def _finished(self, key: Key, verb: str, revision: str, failure: dict[str, object] | None) -> None:
        self.look()
        if failure is None:
            self._not_before.pop(key, None)
            if verb == "start":
                self._failures.pop(key, None)
            return
        now = boottime()
        sentence = str(failure.get("sentence") or failure.get("reason"))
        _log(sentence)
        if verb == "remove":
            self._not_before[key] = now + FAILED_REMOVE_S
            return
        before = self._failures.get(key, (revision, 0))
        count = before[1] + 1 if before[0] == revision else 1
        self._failures[key] = (revision, count)
        past = after_failed_start(
            Past(failures=count - 1), retry=failure.get("retry") is not False, now=now, chance=self._chance()
        )
        self._due[key] = (revision, past.due)
        if count & (count - 1) == 0:  # the first, second, fourth ...: not one event for every try
            words = "" if count == 1 else f" ({count} times)"
            self._journal.say(
                "container.start-failed", f"{sentence}{words}", severity="error", app=key[0], service=key[1]
            )

    def _gone(self, app: str, now: float) -> None:
        """Nothing of it is left: forget it, and take down its network and groups."""
        self.views.pop(app, None)
        for table in (self._due, self._failures, self._not_before, self._stopping):
            for key in [key for key in table if key[0] == app]:
                del table[key]
        if app in self._journal.records.known():
            self._journal.removed(app)
        if not self._pruning:
            self._pruning = True
            self._children.spawn(
                self._machine.prune(set(self.plans)), _ignore, self._pruned, now=now, deadline=CHILD_SECONDS
            )

    def _pruned(self, _status: int) -> None:
        self._pruning = False

    # -- judging

    def _judge(
        self, wanted_plan: Plan, wanted: Wanted, observed: tuple[Seen, ...], waits: dict[str, str], now: float
    ) -> float:
        """Announce a revision that runs whole, and remember one that proved itself."""
        sealed = wanted_plan.sealed
        if sealed is None or wanted_plan.revision is None:
            return NEVER
        up = {one.service for one in observed if one.pid is not None and one.revision == wanted.revision}
        whole = all(u.name in up or wanted.past[u.name].finished == 0 for u in wanted.units)
        if not whole or waits or wanted.busy:
            return NEVER
        self._journal.updated(wanted_plan.app, wanted_plan.revision, sealed["release"])
        result = proven(
            observed,
            wanted,
            window_s=float(sealed["health_window_s"]),
            max_restarts=sealed["max_restarts"],
            now=now,
            ticks_per_second=TICKS_PER_SECOND,
        )
        if result is True:
            self._journal.proven(wanted_plan.app, wanted_plan.seal, sealed)
            return NEVER
        return result

    # -- ends of containers

    def _watch_ends(self, observed: list[Seen]) -> None:
        present = {(one.app, one.service): one.pid for one in observed if one.pid is not None}
        for key, (pid, _) in list(self._handles.items()):
            if present.get(key) != pid:
                self._unwatch(key)
        for key, pid in present.items():
            if key not in self._handles and key not in self._busy:
                descriptor = self._machine.runtime.end_handle(*key)
                if descriptor is None:
                    self._look_at.append(boottime() + AFTER_END[-1])
                    continue
                self._handles[key] = (pid, descriptor)
                self._reactor.watch(descriptor, partial(self._end, key))

    def _end(self, key: Key, _mask: int) -> None:
        self._unwatch(key)
        now = boottime()
        self._look_at += [now, *(now + after for after in AFTER_END)]

    def _unwatch(self, key: Key) -> None:
        _, descriptor = self._handles.pop(key)
        self._reactor.unwatch(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        """Let go of the containers; they run on."""
        for key in list(self._handles):
            self._unwatch(key)


_NOTHING: tuple[frozenset[str], frozenset[str], bool] = (frozenset(), frozenset(), False)


def _whole(one: Seen, revision: str | None) -> Seen | None:
    """A container that a starter left half-made counts as absent if its revision is wanted: starting it again mends it,
    and waits for a starter that is still at it. Of another revision it counts as ended.
    """
    if one.started_at is not None:
        return one
    return None if one.revision == revision else one._replace(pid=None)


def _failure(said: list[bytes], status: int) -> dict[str, object] | None:
    """None if the child did its work; else its error."""
    try:
        answer = json.loads(said[-1]) if said else {}
    except ValueError:
        answer = {}
    if status == 0 and isinstance(answer, dict) and answer and "failed" not in answer:
        return None
    failed = answer.get("failed") if isinstance(answer, dict) else None
    if isinstance(failed, dict):
        return failed
    return {"sentence": f"the child process that starts containers ended with status {status}", "retry": True}


def _ignore(_line: bytes) -> None:
    """Output that nobody needs."""


def _log(text: str) -> None:
    sys.stderr.write(f"keeper: {text}\n")
