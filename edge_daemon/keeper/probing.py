"""The probes of all services of this host: who is asked when, and what is known of each.

It only looks and tells: what follows from it is `supervise`'s and `judge`'s. A container is never waited for, and at
most `probes.MOST_AT_ONCE` questions are under way on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from edge_daemon.keeper import probes
from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import NEVER, TICKS_PER_SECOND
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.probe_io import Question, Target, ask
from edge_daemon.keeper.reactor import Reactor
from edge_daemon.sealed import Revision, SealedService

HOST_ADDRESS = "127.0.0.1"

LIVENESS, READINESS = KINDS = "probe", "readiness"  # as the sealed service has them

Key = tuple[str, str, str]  # app, service, which of the two
Run = tuple[int | None, int | None]  # pid and start time: one run of a container


class Opinion(NamedTuple):
    """What the probes say of one app."""

    probed: frozenset[str] = frozenset()  # services whose probe has an opinion
    silent: frozenset[str] = frozenset()  # those that have a probe, and none yet
    healthy: frozenset[str] = frozenset()
    failing: dict[str, str] = {}  # service that should be started again -> why
    unready: dict[str, str] = {}  # service that should not be relied on -> why


class Watched:
    """One probe of a running container."""

    def __init__(self, target: Target, run: Run, started: float, now: float) -> None:
        self.target = target
        self.run = run
        self.started = started
        self.health = probes.begin(target.rule, started, now)
        self.question: Question | None = None


class Probes:
    """All of them. `watch` is called with what was observed, `step` on every turn."""

    def __init__(self, machine: Machine, reactor: Reactor, children: Children, *, changed: Callable[[], None]) -> None:
        self._machine = machine
        self._reactor = reactor
        self._children = children
        self._changed = changed
        self._watched: dict[Key, Watched] = {}
        self._dropped: list[Question] = []  # still under way, their answers are not wanted any more

    def watch(
        self,
        app: str,
        sealed: Revision | None,
        seal: str,
        observed: tuple[Seen, ...],
        *,
        stopping: Collection[str],
        now: float,
    ) -> Opinion:
        """Ask those containers of `observed` that are of this revision; what is known of them."""
        asked = {(s["name"], kind): s for s in sealed["services"] for kind in KINDS if kind in s} if sealed else {}
        running = {
            one.service: one
            for one in observed
            if sealed is not None and one.revision == sealed["revision"] and one.pid is not None
        }
        for name, kind in [key[1:] for key in self._watched if key[0] == app]:
            if (name, kind) not in asked or name not in running or name in stopping:
                self._forget((app, name, kind))
        for (name, kind), service in asked.items():
            if name in running and name not in stopping and sealed is not None:
                self._follow(
                    (app, name, kind), _target(app, sealed["revision"], seal, service, kind), running[name], now
                )
        return self._opinion(app, {name for name, _ in asked}, frozenset(asked))

    def _opinion(self, app: str, services: set[str], asked: frozenset[tuple[str, str]]) -> Opinion:
        """A service is well when all its probes say so; only the one that asks whether it lives can end it."""
        state = {
            (name, kind): w.health.state
            for name, kind in asked
            if (w := self._watched.get((app, name, kind))) is not None
        }
        bad = {key for key, said in state.items() if said == probes.UNHEALTHY}
        good = {n for n in services if all(state.get((n, k)) == probes.HEALTHY for m, k in asked if m == n)}
        said = {name for name, _ in bad} | good
        return Opinion(
            probed=frozenset(said),
            silent=frozenset(services - said),
            healthy=frozenset(good),
            failing={name: self._why(app, name, kind) for name, kind in bad if kind == LIVENESS},
            unready={name: self._why(app, name, kind) for name, kind in bad if kind == READINESS},
        )

    def _why(self, app: str, name: str, kind: str) -> str:
        watched = self._watched[app, name, kind]
        return probes.why(watched.target.rule, watched.health)

    def words(self, app: str) -> dict[str, tuple[str, str]]:
        """What the probes say of the running services of an app whether they live: (state, why)."""
        return {
            name: (w.health.state, probes.why(w.target.rule, w.health))
            for (of, name, kind), w in self._watched.items()
            if of == app and kind == LIVENESS
        }

    def ready(self, app: str) -> dict[str, tuple[bool, str]]:
        """Of the running services of an app that have a readiness of their own: whether they are ready, and why not."""
        return {
            name: (w.health.state == probes.HEALTHY, probes.why(w.target.rule, w.health))
            for (of, name, kind), w in self._watched.items()
            if of == app and kind == READINESS
        }

    def step(self, now: float) -> float:
        """Take the answers that are there, ask who is due. When to look again."""
        due, told = NEVER, False
        for watched in self._watched.values():
            if watched.question is not None:
                due = min(due, watched.question.step(now) or NEVER)
                told |= self._take(watched, now)
        self._dropped = [question for question in self._dropped if question.result is None]
        running = len(self._dropped) + sum(w.question is not None for w in self._watched.values())
        waiting = {key: w.health.due for key, w in self._watched.items() if w.question is None}
        for key in probes.turn_of([(at, key) for key, at in waiting.items()], running, now):
            watched = self._watched[key]
            watched.question = ask(watched.target, self._machine, self._reactor, self._children, now)
            del waiting[key]
            running += 1
            due = min(due, watched.question.step(now))  # 0: it has its answer already
        if told:
            self._changed()
        return min(due, probes.next_due(waiting.values(), running))

    def _take(self, watched: Watched, now: float) -> bool:
        """True if what is known has changed in a way that others want to know."""
        if watched.question is None or (result := watched.question.result) is None:
            return False
        before, watched.question = watched.health, None
        watched.health = probes.after(watched.target.rule, before, result, started=watched.started, now=now)
        return (before.state, before.words, before.failures) != (
            watched.health.state,
            watched.health.words,
            watched.health.failures,
        )

    def _follow(self, key: Key, target: Target, seen: Seen, now: float) -> None:
        run = (seen.pid, seen.start_ticks)
        known = self._watched.get(key)
        if known is not None and known.run == run and known.target.rule == target.rule:
            known.target = target  # its limits may have changed, and its revision with them
            return
        self._forget(key)
        started = seen.start_ticks / TICKS_PER_SECOND if seen.start_ticks is not None else now
        self._watched[key] = Watched(target, run, started, now)

    def _forget(self, key: Key) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None and watched.question is not None:
            watched.question.drop()
            self._dropped.append(watched.question)

    def forget(self, app: str) -> None:
        """The app left this host."""
        for key in [key for key in self._watched if key[0] == app]:
            self._forget(key)


def _target(app: str, revision: str, seal: str, service: SealedService, kind: str) -> Target:
    address = HOST_ADDRESS if service["network"] == "host" else service["address"]
    values = service["readiness"] if kind == READINESS else service["probe"]
    return Target(app, service["name"], revision, seal, address, probes.rule_of(values), kind)
