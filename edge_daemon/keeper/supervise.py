"""What to do next for one app: pure. Nothing here reads a clock, a socket or a file.

Rules:
* Only what differs is touched: a container of the wanted revision that runs is left alone, and one that limits alone
  tell apart from it is given those limits while it runs.
* An app's services move together: nothing of the wanted revision starts while anything of another is still there.
  A start-first update is the exception: there the earlier revision, in the other slot, is left alone until all of the
  wanted one runs and is well. Then what is published is handed over, and the earlier one stops. Never more than two.
* Stopping goes against the order of dependencies, with grace (and a preStop hook within it), then by force; starting
  goes along it.
* A container that ended is written down and cleared away before another takes its place.
* One whose probe said often enough that it is not well is asked to end, with grace; its end is a failure like others.
  Where its policy is never to start it again it is left alone: ending it would mend nothing.
* What cannot be done now is a Wait with its reason, and with a time if time alone will help.
"""

from __future__ import annotations

from typing import NamedTuple

from edge_daemon.keeper.clock import NEVER, TICKS_PER_SECOND, backoff
from edge_daemon.keeper.ports import Seen
from edge_daemon.slots import shown, slot_of

RESTART_BASE_S, RESTART_CAP_S = 1.0, 120.0
STEADY_S = 600.0
"""A container that ran this long has recovered: its next failure is the first again."""
CRASH_LOOP_AT = 5
UP_S = 10.0
"""A service without a probe that ran this long is up, as far as a start-first update can tell."""
DRAIN_S = 2.0
"""From handing over to the first stop: for what was asked of the earlier revision just before."""
OOM_GRACE_S = 10.0  # after SIGKILL
UNKNOWN_EXIT = 255


class Unit(NamedTuple):
    """One service, as far as deciding needs it."""

    name: str
    needs: tuple[tuple[str, str], ...] = ()  # (service, started | healthy | completed)
    policy: str = "always"  # always | on-failure | no
    max_restarts: int | None = None
    stop_signal: str = "SIGTERM"
    grace_s: float = 10.0
    pre_stop_s: float = 0.0  # how long its preStop hook may take of the grace; 0: it has none


class Past(NamedTuple):
    """What is remembered of one service in the wanted revision."""

    restarts: int = 0
    failures: int = 0  # in a row
    due: float = 0.0  # not started before
    finished: int | None = None  # ended for good, with this exit code


class Wanted(NamedTuple):
    """One app: what shall be, and what the loop has under way."""

    revision: str | None  # None: the app shall not be here
    units: tuple[Unit, ...] = ()  # in start order
    past: dict[str, Past] = {}
    probed: frozenset[str] = frozenset()  # services whose probe has an opinion
    silent: frozenset[str] = frozenset()  # those that have a probe, and none yet
    healthy: frozenset[str] = frozenset()  # those for which it is good
    failing: dict[str, str] = {}  # service -> why its container is not well, or has been asked to end for it
    unready: dict[str, str] = {}  # service -> why nobody should rely on it yet; its container is left alone
    leaving: dict[str, Unit] = {}  # how containers of other revisions are stopped
    stopping: dict[str, float] = {}  # asked to stop; when its grace ends
    busy: frozenset[str] = frozenset()  # a child process is at work on it
    not_before: dict[str, float] = {}  # the last child failed; next try
    beside: bool = False  # a start-first update: an earlier revision in the other slot runs on until this one is up
    handed: float | None = None  # when what is published was handed over to it
    tunable: frozenset[str] = frozenset()  # of another revision, and limits alone make them the wanted one's


class Start(NamedTuple):
    """Make and start it."""

    service: str


class Retune(NamedTuple):
    """It becomes the wanted revision's by a change of its limits alone; it runs on."""

    service: str


class Stop(NamedTuple):
    """Ask it to end: its preStop hook first, if it has one, then the signal."""

    service: str
    signal: str
    grace_s: float
    pre_stop_s: float = 0.0


class Restart(NamedTuple):
    """It runs, but is not well: ask it to end, so that it is started again."""

    service: str
    signal: str
    grace_s: float
    why: str
    pre_stop_s: float = 0.0


class Kill(NamedTuple):
    """Its grace is over: end it and clear it away."""

    service: str


class Clear(NamedTuple):
    """It ended and is not wanted any more: write that down, clear it away."""

    service: str


class Settle(NamedTuple):
    """It ended although it is wanted, or outlived its grace: write that down, clear it away, ask its policy."""

    service: str


class HandOver(NamedTuple):
    """All of the wanted revision is up beside the earlier one: what is published leads to it from now on."""

    service: str


class Wait(NamedTuple):
    """Nothing to do for it now; `until` is None when only another event can change that."""

    service: str
    until: float | None
    why: str


Action = Start | Retune | Stop | Restart | Kill | Clear | Settle | HandOver | Wait


def supervise(observed: tuple[Seen, ...], wanted: Wanted, now: float) -> list[Action]:
    """What to do now. `observed` holds the containers of this app only."""
    units = {unit.name: unit for unit in wanted.units} if wanted.revision is not None else {}
    seen = {one.service: one for one in observed}
    foreign = {name for name, one in seen.items() if name not in units or one.revision != wanted.revision}
    earlier = in_other_slot(foreign, wanted)
    spared = earlier
    out: list[Action] = []
    if earlier:
        out.append(_take_over(seen, min(earlier), wanted, now, alone=foreign == earlier))
        if wanted.handed is not None and now >= wanted.handed + DRAIN_S:
            out, spared = [], set()
    out += [_gate(action, wanted, now) for action in _leave(seen, foreign - spared, wanted, now)]
    for unit in units.values():
        if unit.name in foreign:
            continue
        if (action := _serve(unit, seen, foreign - earlier, wanted, now)) is not None:
            out.append(_gate(action, wanted, now))
    return out


def in_other_slot(foreign: set[str], wanted: Wanted) -> set[str]:
    """Of what is not wanted, that which a start-first update leaves alone at first."""
    if not wanted.beside or wanted.revision is None or not wanted.units:
        return set()
    ours = slot_of(wanted.units[0].name)
    return {name for name in foreign if slot_of(name) != ours}


def _take_over(seen: dict[str, Seen], earlier: str, wanted: Wanted, now: float, *, alone: bool) -> Action:
    """What a start-first update does next with the earlier revision as a whole."""
    if wanted.handed is not None:
        return Wait(earlier, wanted.handed + DRAIN_S, "has handed over")
    up = max(up_at(unit, seen, wanted) for unit in wanted.units) if alone else NEVER
    if now >= up:
        return _gate(HandOver(wanted.units[0].name), wanted, now)
    return Wait(earlier, None if up == NEVER else up, "runs on until the new revision is up")


def up_at(unit: Unit, seen: dict[str, Seen], wanted: Wanted) -> float:
    """When a service is up, as far as anybody can tell now; infinity: not by time alone."""
    one, asked = seen.get(unit.name), unit.name in wanted.probed | wanted.silent
    if one is None:
        return 0.0 if wanted.past.get(unit.name, Past()).finished == 0 else NEVER
    if one.pid is None or unit.name in wanted.busy | wanted.failing.keys() | wanted.unready.keys():
        return NEVER
    if asked:
        return 0.0 if unit.name in wanted.healthy else NEVER
    return (one.start_ticks or 0) / TICKS_PER_SECOND + UP_S


def _gate(action: Action, wanted: Wanted, now: float) -> Action:
    """Not while a child works on it, and not at once after one failed. Asking to stop needs no child."""
    if action.service in wanted.busy:
        return Wait(action.service, None, "is being worked on")
    again = wanted.not_before.get(action.service, 0.0)
    if now < again and not isinstance(action, Wait | Stop | Restart):
        return Wait(action.service, again, "the last try failed")
    return action


def _leave(seen: dict[str, Seen], foreign: set[str], wanted: Wanted, now: float) -> list[Action]:
    """What is not wanted goes: what nothing else that is leaving depends on first."""
    running = {name for name in foreign if seen[name].pid is not None}
    held = {
        need
        for name in running
        for need, _ in wanted.leaving.get(name, Unit(name)).needs
        if need in running and need != name
    }
    if held == running:
        held = set()  # a circle; sealed revisions have none, but a stuck host would be worse
    out: list[Action] = []
    for name in sorted(foreign):
        if name not in running:
            out.append(Clear(name))
        elif name in wanted.stopping:
            until = wanted.stopping[name]
            out.append(Kill(name) if now >= until else Wait(name, until, "has been asked to stop"))
        elif name in wanted.tunable:
            out.append(Retune(name))
        elif name in held:
            out.append(Wait(name, None, "what depends on it stops first"))
        else:
            unit = wanted.leaving.get(name, Unit(name))
            out.append(Stop(name, unit.stop_signal, unit.grace_s, unit.pre_stop_s))
    return out


def _serve(unit: Unit, seen: dict[str, Seen], foreign: set[str], wanted: Wanted, now: float) -> Action | None:
    """One service of the wanted revision; None when it is as it should be."""
    past = wanted.past.get(unit.name, Past())
    one = seen.get(unit.name)
    if one is not None:
        return Settle(unit.name) if one.pid is None else _mend(unit, one, wanted, now)
    if past.finished is not None:
        return None
    if foreign:
        return Wait(unit.name, None, f"the earlier revision of {', '.join(sorted(map(shown, foreign)))} stops first")
    if why := _blocked(unit, seen, wanted):
        return Wait(unit.name, None, why)
    if now < past.due:
        return Wait(unit.name, past.due, f"restarts after {past.failures} failures in a row")
    return Start(unit.name)


def _mend(unit: Unit, one: Seen, wanted: Wanted, now: float) -> Action | None:
    """What is done for a container that runs; None when it is well, or when nothing would be won."""
    if one.oom_killed:
        return _half_killed(unit, wanted, now)
    why = wanted.failing.get(unit.name)
    if why is None or unit.policy == "no":
        return None
    if unit.name not in wanted.stopping:
        return Restart(unit.name, unit.stop_signal, unit.grace_s, why, unit.pre_stop_s)
    until = wanted.stopping[unit.name]
    return Settle(unit.name) if now >= until else Wait(unit.name, until, f"has been asked to stop: {why}")


def _half_killed(unit: Unit, wanted: Wanted, now: float) -> Action:
    """The kernel killed a part of it for memory and left the rest: all of it ends, as cgroup v2 does by itself."""
    until = wanted.stopping.get(unit.name)
    if until is None:
        return Stop(unit.name, "SIGKILL", OOM_GRACE_S)
    return Settle(unit.name) if now >= until else Wait(unit.name, until, "was killed in part: out of memory")


def _blocked(unit: Unit, seen: dict[str, Seen], wanted: Wanted) -> str:
    """Why its dependencies do not let it start, or ""."""
    for need, condition in unit.needs:
        finished = wanted.past.get(need, Past()).finished
        runs = need in seen and seen[need].pid is not None
        if finished not in (None, 0):
            return f"{shown(need)}, which it needs, failed with exit code {finished}"
        if condition == "completed" and finished is None:
            return f"waits until {shown(need)} has completed"
        if finished is None and not runs:
            return f"waits until {shown(need)} has started"
        if condition == "healthy" and runs and need in wanted.probed | wanted.silent and need not in wanted.healthy:
            return f"waits until {shown(need)} is healthy"
    return ""


def after_exit(unit: Unit, past: Past, *, exit_code: int | None, ran_s: float, now: float, chance: float) -> Past:
    """What is remembered after its container ended by itself."""
    code = UNKNOWN_EXIT if exit_code is None else exit_code
    if code == 0 and unit.policy != "always":
        return past._replace(failures=0, finished=0)
    failures = 1 if ran_s >= STEADY_S else past.failures + 1
    too_often = unit.max_restarts is not None and failures > unit.max_restarts
    if unit.policy == "no" or too_often:
        return past._replace(failures=failures, finished=code)
    wait = backoff(failures, base=RESTART_BASE_S, cap=RESTART_CAP_S, chance=chance)
    return Past(restarts=past.restarts + 1, failures=failures, due=now + wait)


def after_failed_start(past: Past, *, retry: bool, now: float, chance: float) -> Past:
    """What is remembered when it could not even be started. What trying cannot mend is tried seldom, not never."""
    wait = backoff(past.failures + 1, base=RESTART_BASE_S, cap=RESTART_CAP_S, chance=chance)
    return past._replace(failures=past.failures + 1, due=now + (wait if retry else STEADY_S))
