"""What the keeper does next for one app: a table, and a world in which it must come to rest without breaking a rule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_daemon.keeper.clock import NEVER, backoff, full_jitter
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.supervise import (
    RESTART_CAP_S,
    STEADY_S,
    UNKNOWN_EXIT,
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
    supervise,
)

NOW = 1000.0
WEB, DB = Unit("web", needs=(("db", "started"),), grace_s=3.0), Unit("db")


def seen(service: str, revision: str = "new", *, runs: bool = True, code: int | None = 0) -> Seen:
    return Seen("shop", service, revision, 7 if runs else None, 1.0, 5, None if runs else code, None, oom_killed=False)


def wanted(*units: Unit, revision: str | None = "new", **more: object) -> Wanted:
    return Wanted(revision, units, **more)  # type: ignore[arg-type]


ROWS: dict[str, tuple[tuple[Seen, ...], Wanted, list[Action]]] = {
    "nothing wanted, nothing there": ((), wanted(revision=None), []),
    "all is as it should be": ((seen("web"), seen("db")), wanted(DB, WEB), []),
    "what nothing stands in the way of is started, the other waits": (
        (),
        wanted(DB, WEB),
        [Start("db"), Wait("web", None, "waits until db has started")],
    ),
    "what needs it follows": ((seen("db"),), wanted(DB, WEB), [Start("web")]),
    "an ended container is settled, also while its dependency is away": (
        (seen("web", runs=False, code=3),),
        wanted(DB, WEB),
        [Start("db"), Settle("web")],
    ),
    "the earlier revision stops against the order, and nothing of the new one starts": (
        (seen("web", "old"), seen("db", "old")),
        wanted(DB, WEB, leaving={"web": WEB, "db": DB}),
        [Wait("db", None, "what depends on it stops first"), Stop("web", "SIGTERM", 3.0)],
    ),
    "one of the earlier revision is enough to wait": (
        (seen("db", "old"),),
        wanted(Unit("web"), leaving={"db": DB}),
        [Stop("db", "SIGTERM", 10.0), Wait("web", None, "the earlier revision of db stops first")],
    ),
    "an earlier one that has ended is cleared away": ((seen("web", "old", runs=False),), wanted(WEB), [Clear("web")]),
    "what was asked to stop has its grace": (
        (seen("web", "old"),),
        wanted(WEB, stopping={"web": NOW + 1}),
        [Wait("web", NOW + 1, "has been asked to stop")],
    ),
    "and is killed after it": ((seen("web", "old"),), wanted(WEB, stopping={"web": NOW}), [Kill("web")]),
    "an app that shall not be here goes": ((seen("web"),), wanted(revision=None), [Stop("web", "SIGTERM", 10.0)]),
    "a service that the revision does not have goes": (
        (seen("web"), seen("extra")),
        wanted(Unit("web")),
        [Stop("extra", "SIGTERM", 10.0)],
    ),
    "a restart waits for its time": (
        (),
        wanted(DB, past={"db": Past(failures=2, due=NOW + 5)}),
        [Wait("db", NOW + 5, "restarts after 2 failures in a row")],
    ),
    "what ended for good stays": ((), wanted(DB, past={"db": Past(finished=0)}), []),
    "what needs a completed one starts after it": (
        (),
        wanted(DB, Unit("web", needs=(("db", "completed"),)), past={"db": Past(finished=0)}),
        [Start("web")],
    ),
    "and waits while it runs": (
        (seen("db"),),
        wanted(DB, Unit("web", needs=(("db", "completed"),))),
        [Wait("web", None, "waits until db has completed")],
    ),
    "what needs a failed one says so": (
        (),
        wanted(DB, WEB, past={"db": Past(finished=4)}),
        [Wait("web", None, "db, which it needs, failed with exit code 4")],
    ),
    "a probe that is not good holds back": (
        (seen("db"),),
        wanted(DB, Unit("web", needs=(("db", "healthy"),)), probed=frozenset({"db"})),
        [Wait("web", None, "waits until db is healthy")],
    ),
    "without a probe, healthy is started": (
        (seen("db"),),
        wanted(DB, Unit("web", needs=(("db", "healthy"),))),
        [Start("web")],
    ),
    "nothing is done for what a child works on": (
        (),
        wanted(DB, busy=frozenset({"db"})),
        [Wait("db", None, "is being worked on")],
    ),
    "nor at once after a child failed": (
        (seen("db", runs=False),),
        wanted(DB, not_before={"db": NOW + 2}),
        [Wait("db", NOW + 2, "the last try failed")],
    ),
    "a circle in what leaves is broken": (
        (seen("a", "old"), seen("b", "old")),
        wanted(revision=None, leaving={"a": Unit("a", (("b", "started"),)), "b": Unit("b", (("a", "started"),))}),
        [Stop("a", "SIGTERM", 10.0), Stop("b", "SIGTERM", 10.0)],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_is_done_next(row: str) -> None:
    observed, target, actions = ROWS[row]
    assert supervise(observed, target, NOW) == actions


@pytest.mark.parametrize(
    ("policy", "most", "before", "code", "after"),
    [
        ("always", None, Past(), 0, (1, 1, None)),
        ("always", None, Past(2, 2), 1, (3, 3, None)),
        ("on-failure", None, Past(1, 1), 0, (1, 0, 0)),
        ("on-failure", None, Past(), 9, (1, 1, None)),
        ("on-failure", 2, Past(2, 2), 9, (2, 3, 9)),
        ("no", None, Past(), 0, (0, 0, 0)),
        ("no", None, Past(), 3, (0, 1, 3)),
        ("no", None, Past(), None, (0, 1, UNKNOWN_EXIT)),
    ],
)
def test_what_an_exit_leaves_behind(
    policy: str, most: int | None, before: Past, code: int | None, after: tuple[int, int, int | None]
) -> None:
    past = after_exit(Unit("web", (), policy, most), before, exit_code=code, ran_s=1, now=NOW, chance=0.5)
    assert (past.restarts, past.failures, past.finished) == after


def test_a_container_that_ran_long_begins_its_failures_anew() -> None:
    past = after_exit(DB, Past(20, 20), exit_code=1, ran_s=STEADY_S, now=NOW, chance=0.0)
    assert (past.restarts, past.failures, past.due) == (21, 1, NOW + 0.5)


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_delays_grow_to_their_cap_and_no_further(failures: int, chance: float) -> None:
    past = after_exit(DB, Past(failures, failures), exit_code=1, ran_s=0, now=NOW, chance=chance)
    assert NOW + 0.5 <= past.due <= NOW + RESTART_CAP_S
    assert 0 <= full_jitter(failures, base=1, cap=60, chance=chance) <= 60
    assert backoff(failures, base=1, cap=60, chance=chance) <= backoff(failures + 1, base=1, cap=60, chance=1.0)


def test_what_trying_cannot_mend_is_tried_seldom() -> None:
    assert after_failed_start(Past(), retry=True, now=NOW, chance=0.0) == Past(failures=1, due=NOW + 0.5)
    assert after_failed_start(Past(), retry=False, now=NOW, chance=0.0) == Past(failures=1, due=NOW + STEADY_S)


# --- a world


class World:
    """One host for one app: carries actions out, and fails the test when a rule is broken."""

    def __init__(self, units: tuple[Unit, ...], leaving: dict[str, Unit], present: dict[str, Seen]) -> None:
        self.units = units
        self.leaving = leaving
        self.present = present
        self.past: dict[str, Past] = {}
        self.stopping: dict[str, float] = {}
        self.now = NOW
        self.stopped: list[str] = []

    def wanted(self) -> Wanted:
        return Wanted("new", self.units, past=self.past, leaving=self.leaving, stopping=self.stopping)

    def turn(self, deaf: frozenset[str]) -> bool:
        """Whether anything was done."""
        actions = supervise(tuple(self.present.values()), self.wanted(), self.now)
        for action in actions:
            self._do(action, deaf)
        done = [a for a in actions if not isinstance(a, Wait)]
        times = [a.until for a in actions if isinstance(a, Wait) and a.until is not None]
        if not done and times:
            self.now = min(times)
            return True
        return bool(done)

    def _do(self, action: Action, deaf: frozenset[str]) -> None:
        name = action.service
        match action:
            case Start():
                assert name not in self.present, "two of one service"
                assert not [s for s in self.present.values() if s.revision != "new"], "two revisions of one app"
                assert self.past.get(name, Past()).due <= self.now
                self.present[name] = seen(name)
            case Stop():
                one = self.present[name]
                assert one.revision != "new" or name not in {u.name for u in self.units}, "a wanted one was stopped"
                self.stopped.append(name)
                self.stopping[name] = self.now + 10
                if name not in deaf:
                    self.present[name] = one._replace(pid=None, exit_code=0)
            case Kill():
                assert self.now >= self.stopping[name]
                del self.present[name]
            case Clear():
                assert self.present[name].pid is None
                del self.present[name]
            case Settle():
                one = self.present.pop(name)
                unit = next(u for u in self.units if u.name == name)
                self.past[name] = after_exit(
                    unit, self.past.get(name, Past()), exit_code=one.exit_code, ran_s=1, now=self.now, chance=0.5
                )
        if name not in self.present:
            self.stopping.pop(name, None)


NAMES = ("a", "b", "c", "d")


@st.composite
def revisions(draw: st.DrawFn) -> tuple[Unit, ...]:
    """Services in start order; each may need earlier ones."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    out = []
    for index, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        conditions = st.sampled_from(("started", "healthy"))
        policy = draw(st.sampled_from(("always", "on-failure", "no")))
        out.append(Unit(name, tuple((n, draw(conditions)) for n in needs), policy))
    return tuple(out)


containers = st.builds(
    lambda names, old, ended: {n: seen(n, "old" if n in old else "new", runs=n not in ended, code=1) for n in names},
    st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)),
)  # fmt: skip


@settings(deadline=None)
@given(revisions(), revisions(), containers, st.frozensets(st.sampled_from(NAMES)))
def test_from_any_world_it_converges_and_then_rests(
    new: tuple[Unit, ...], old: tuple[Unit, ...], present: dict[str, Seen], deaf: frozenset[str]
) -> None:
    world = World(new, {unit.name: unit for unit in old}, dict(present))
    untouched = {n: s for n, s in present.items() if s.revision == "new" and s.pid and n in {u.name for u in new}}

    for _ in range(100):
        if not world.turn(deaf):
            break
    else:
        raise AssertionError("it does not come to rest")

    assert {n: world.present[n] for n in untouched} == untouched, "a healthy container was touched"
    assert set(world.stopped).isdisjoint(untouched)
    for unit in new:
        failed = world.past.get(unit.name, Past()).finished is not None
        blocked = any(world.past.get(n, Past()).finished for n, _ in unit.needs) or any(
            n not in world.present and world.past.get(n, Past()).finished is None for n, _ in unit.needs
        )
        assert unit.name in world.present or failed or blocked, unit
    assert all(s.revision == "new" and s.pid is not None for s in world.present.values())
    rest = supervise(tuple(world.present.values()), world.wanted(), NEVER)
    assert all(isinstance(action, Wait) for action in rest)
