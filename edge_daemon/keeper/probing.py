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

Key = tuple[str, str]
Run = tuple[int | None, int | None]  # pid and start time: one run of a container


class Opinion(NamedTuple):
    """What the probes say of one app."""

    probed: frozenset[str] = frozenset()  # services whose probe has an opinion
    silent: frozenset[str] = frozenset()  # those that have a probe, and none yet
    healthy: frozenset[str] = frozenset()
    failing: dict[str, str] = {}  # unhealthy service -> why


class Watched:
    """One running container with a probe."""

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
        services = {s["name"]: s for s in sealed["services"] if "probe" in s} if sealed is not None else {}
        running = {
            one.service: one
            for one in observed
            if sealed is not None and one.revision == sealed["revision"] and one.pid is not None
        }
        for name in [s for a, s in self._watched if a == app]:
            if name not in services or name not in running or name in stopping:
                self._forget((app, name))
        for name, service in services.items():
            if name in running and name not in stopping and sealed is not None:
                self._follow((app, name), _target(app, sealed["revision"], seal, service), running[name], now)
        known = {name: w.health for name in services if (w := self._watched.get((app, name))) is not None}
        said = frozenset(name for name, health in known.items() if health.state != probes.STARTING)
        return Opinion(
            probed=said,
            silent=frozenset(services) - said,
            healthy=frozenset(name for name in said if known[name].state == probes.HEALTHY),
            failing={name: self.words(app)[name][1] for name in said if known[name].state == probes.UNHEALTHY},
        )

    def words(self, app: str) -> dict[str, tuple[str, str]]:
        """What the probes say of the running services of an app: (state, why)."""
        return {
            name: (w.health.state, probes.why(w.target.rule, w.health))
            for (of, name), w in self._watched.items()
            if of == app
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
        for key in probes.turn_of([(at, *key) for key, at in waiting.items()], running, now):
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


def _target(app: str, revision: str, seal: str, service: SealedService) -> Target:
    address = HOST_ADDRESS if service["network"] == "host" else service["address"]
    return Target(app, service["name"], revision, seal, address, probes.rule_of(service["probe"]))
