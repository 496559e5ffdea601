"""Doing what `supervise` decides: signals at once, everything else by a child process, and what each one left behind.

A child that hangs holds up its own container and nobody else. What stands here is of this process alone: a keeper that
comes after it finds the containers as they are, and decides anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import TICKS_PER_SECOND, boottime
from edge_daemon.keeper.errands import failure, ignore
from edge_daemon.keeper.failing import Failing
from edge_daemon.keeper.hooks import Answer, Hooks
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.plans import Plan
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.supervise import (
    UNKNOWN_EXIT,
    Action,
    Clear,
    HandOver,
    Kill,
    Past,
    Restart,
    Retune,
    Settle,
    Start,
    Stop,
    Wanted,
    after_exit,
    after_failed_start,
)
from edge_daemon.keeper.trials import Trials
from edge_daemon.keeper.tuner import Tuner
from edge_daemon.slots import shown, slot_of
from fleet_protocol.wire.errors import RoadsteadError

CHILD_SECONDS = 60.0
POST_START_SECONDS = 60.0
POST_START = "E0711"
"""Of `edge_daemon.keeper.runtime.errors.PostStartError`: the release's own word, and no trouble of the host."""
FAILED_REMOVE_S = 5.0

Key = tuple[str, str]


class Acts:
    """What is under way for the containers of this host, by (app, service)."""

    def __init__(
        self,
        machine: Machine,
        journal: Journal,
        children: Children,
        trials: Trials,
        tuner: Tuner,
        failing: Failing,
        hooks: Hooks,
        *,
        boot: str,
        chance: Callable[[], float],
        look: Callable[[], None],
    ) -> None:
        self.log_bytes = 1 << 20
        self.busy: dict[Key, str] = {}  # a child is at work on it: start | retune | remove | hand-over
        self._machine = machine
        self._journal = journal
        self._children = children
        self._trials = trials
        self._tuner = tuner
        self._failing = failing
        self._hooks = hooks
        self._boot = boot
        self._chance = chance
        self._look = look
        self._due: dict[Key, tuple[str, float]] = {}  # (revision, not started before)
        self._failures: dict[Key, tuple[str, int]] = {}  # of starts, in this revision
        self._stuck: dict[Key, tuple[str, str]] = {}  # (revision, why it cannot be started, whatever is tried)
        self._not_before: dict[Key, float] = {}
        self._stopping: dict[Key, float] = {}
        self._recreated: dict[str, str] = {}  # app -> the revision for which that was said
        self._handed: dict[str, tuple[str, float]] = {}  # app -> (revision, when what is published was led to it)
        self._pruning = False

    # -- what is known

    def at_work_on(self, app: str) -> frozenset[str]:
        """Services of an app that a child is at work on."""
        return frozenset(service for of, service in self.busy if of == app)

    def stopping(self, app: str, observed: tuple[Seen, ...]) -> dict[str, float]:
        """Services that were asked to end, and when their grace does."""
        present = {one.service for one in observed if one.pid is not None}
        for key in [k for k in self._stopping if k[0] == app and k[1] not in present]:
            del self._stopping[key]
        return {service: until for (of, service), until in self._stopping.items() if of == app}

    def not_before(self, app: str) -> dict[str, float]:
        """Services for which a child failed, and when the next may try."""
        return {service: at for (of, service), at in self._not_before.items() if of == app}

    def handed(self, app: str, revision: str | None) -> float | None:
        """When what is published was handed over to this revision, if it was."""
        known, at = self._handed.get(app, ("", 0.0))
        return at if known == revision else None

    def stuck(self, app: str, revision: str | None) -> dict[str, str]:
        """Services that cannot be started in this revision, and why."""
        return {s: why for (of, s), (r, why) in self._stuck.items() if (of, r) == (app, revision)}

    def past(self, app: str, service: str, revision: str) -> Past:
        """What is remembered of a service in this revision."""
        row = self._journal.records.service(app, service, revision)
        # What gave up in an earlier boot gets another chance in this one; what has completed stays so.
        finished = row.finished if row.finished == 0 or row.boot == self._boot else None
        failed_revision, failed = self._failures.get((app, service), ("", 0))
        failures = row.failures + (failed if failed_revision == revision else 0)
        due_revision, due = self._due.get((app, service), ("", 0.0))
        due = max(due if due_revision == revision else 0.0, self._trials.not_before(app, revision))
        return Past(row.restarts, failures, due, finished)

    def forget(self, app: str) -> None:
        """Nothing of the app is left on this host."""
        self._handed.pop(app, None)
        self._recreated.pop(app, None)
        tables: tuple[dict[Key, Any], ...] = (
            self._due, self._failures, self._stuck, self._not_before, self._stopping,
        )  # fmt: skip
        for table in tables:
            for key in [key for key in table if key[0] == app]:
                del table[key]

    # -- acting

    def do(self, app: str, action: Action, plan: Plan, wanted: Wanted, seen: dict[str, Seen], now: float) -> None:
        """One action; a Wait asks for none."""
        service = action.service
        key = (app, service)
        match action:
            case Start():
                if plan.revision is not None:
                    self._trials.starting(plan, now)
                    command = self._machine.start(app, service, plan.revision, plan.seal, self.log_bytes)
                    self._spawn(key, "start", command, plan, now)
            case Retune():
                if plan.revision is not None:
                    self._trials.starting(plan, now)
                    self._spawn(key, "retune", self._machine.retune(app, service, plan.revision, plan.seal), plan, now)
            case Stop(_, signal, grace, pre_stop):
                self._explain(app, service, plan, wanted)
                self._ask_to_end(seen[service], signal, pre_stop, now + grace, now)
            case Restart(_, signal, grace, why, pre_stop):
                self._failing.restart(seen[service], why)
                self._ask_to_end(seen[service], signal, pre_stop, now + grace, now)
            case Kill() | Clear():
                self._journal.stopped(seen[service], killed=isinstance(action, Kill))
                self._spawn(key, "remove", self._machine.remove(app, service), plan, now)
            case HandOver():
                self._spawn(key, "hand-over", self._machine.hand_over(app, service), plan, now)
            case Settle():
                self._settle(key, wanted, seen[service], now)
                self._spawn(key, "remove", self._machine.remove(app, service), plan, now)

    def _explain(self, app: str, service: str, plan: Plan, wanted: Wanted) -> None:
        """Say once why an update that was meant to be start-first is not."""
        same = wanted.beside and wanted.handed is None and slot_of(service) == slot_of(wanted.units[0].name)
        if same and plan.sealed is not None and self._recreated.get(app) != wanted.revision:
            self._recreated[app] = wanted.revision or ""
            words = f"{app} {plan.sealed['release']} is not started first: what it replaces has its place on this host"
            self._journal.say("app.recreated", words, severity="warn", app=app)

    def _ask_to_end(self, seen: Seen, signal: str, pre_stop_s: float, until: float, now: float) -> None:
        key = (seen.app, seen.service)
        self._stopping[key] = until
        self._look()
        if pre_stop_s:
            self._hooks.run(
                seen, "pre-stop", pre_stop_s, now, lambda answer: self._pre_stopped(seen, signal, until, answer)
            )
        else:
            self._signal(key, signal, now)

    def _pre_stopped(self, seen: Seen, signal: str, until: float, answer: Answer) -> None:
        key = (seen.app, seen.service)
        if answer.why:
            self._hooks.failed(seen, "preStop", answer, "it is stopped all the same")
        if self._stopping.get(key) == until:  # else its end has come already
            self._signal(key, signal, boottime())

    def _signal(self, key: Key, signal: str, now: float) -> None:
        try:
            self._machine.runtime.signal(*key, signal)
        except RoadsteadError as error:
            _log(error.sentence())
            self._stopping[key] = now

    def _settle(self, key: Key, wanted: Wanted, seen: Seen, now: float) -> None:
        unit = next(unit for unit in wanted.units if unit.name == key[1])
        ran = now - seen.start_ticks / TICKS_PER_SECOND if seen.start_ticks is not None else 0.0
        row = self._journal.records.service(seen.app, seen.service, seen.revision)
        before = Past(row.restarts, row.failures)
        cause = self._failing.why(seen)
        code = seen.exit_code or UNKNOWN_EXIT if cause else seen.exit_code  # it was not its own wish to end
        past = after_exit(unit, before, exit_code=code, ran_s=ran, now=now, chance=self._chance())
        if self._journal.ended(seen, past, ran, unwell=bool(cause)):
            self._due[key] = (seen.revision, past.due)

    def _spawn(self, key: Key, verb: str, command: list[str], plan: Plan, now: float) -> None:
        last: list[bytes] = []
        revision = plan.revision or ""

        def heard(line: bytes) -> None:
            last[:] = [line]

        def ended(status: int) -> None:
            self.busy.pop(key, None)
            self._finished(key, verb, revision, failure(last, status))

        try:
            self._children.spawn(command, heard, ended, now=now, deadline=CHILD_SECONDS + POST_START_SECONDS)
        except OSError as error:
            self._finished(key, verb, revision, {"sentence": f"{command[0]}: {error.strerror}", "retry": True})
            return
        self.busy[key] = verb

    def _finished(self, key: Key, verb: str, revision: str, failure: dict[str, object] | None) -> None:
        self._look()
        if failure is None:
            self._not_before.pop(key, None)
            if verb == "start":
                self._failures.pop(key, None)
                self._stuck.pop(key, None)
            elif verb == "hand-over":
                self._handed[key[0]] = revision, boottime()
            return
        now = boottime()
        sentence = str(failure.get("sentence") or failure.get("reason"))
        _log(sentence)
        if verb in ("remove", "hand-over"):
            self._not_before[key] = now + FAILED_REMOVE_S
        elif verb == "retune":
            self._tuner.failed(*key, revision, sentence, outcome="code" in failure)
        else:
            self._start_failed(key, revision, failure, sentence, now)

    def _start_failed(self, key: Key, revision: str, failure: dict[str, object], sentence: str, now: float) -> None:
        before = self._failures.get(key, (revision, 0))
        count = before[1] + 1 if before[0] == revision else 1
        self._failures[key] = (revision, count)
        past = after_failed_start(
            Past(failures=count - 1), retry=failure.get("retry") is not False, now=now, chance=self._chance()
        )
        self._due[key] = (revision, past.due)
        if failure.get("retry") is False or failure.get("code") == POST_START:
            self._stuck[key] = (revision, str(failure.get("reason") or sentence))
        if count & (count - 1) == 0:  # the first, second, fourth ...: not one event for every try
            words = "" if count == 1 else f" ({count} times)"
            self._journal.say(
                "container.start-failed", f"{sentence}{words}", severity="error", app=key[0], service=shown(key[1])
            )

    def prune(self, apps: set[str], now: float) -> None:
        """Take down networks and groups of apps that are gone, one child at a time."""
        if not self._pruning:
            self._pruning = True
            self._children.spawn(self._machine.prune(apps), ignore, self._pruned, now=now, deadline=CHILD_SECONDS)

    def _pruned(self, _status: int) -> None:
        self._pruning = False


def _log(text: str) -> None:
    sys.stderr.write(f"keeper: {text}\n")
