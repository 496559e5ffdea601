"""A start-first update: the earlier revision is left alone until all of the new one is up. A table, and every world."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_daemon.keeper.clock import TICKS_PER_SECOND
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.supervise import (
    DRAIN_S,
    UP_S,
    Action,
    Clear,
    HandOver,
    Kill,
    Past,
    Restart,
    Settle,
    Start,
    Stop,
    Unit,
    Wait,
    Wanted,
    after_exit,
    supervise,
)
from edge_daemon.slots import A, B, named, shown, slot_of, twin, unit

NOW = 1000.0
DB, WEB = Unit("db.b"), Unit("web.b", needs=(("db.b", "started"),))
OLD = {"db": Unit("db"), "web": Unit("web", needs=(("db", "started"),))}
UNTIL_UP = "runs on until the new revision is up"


def seen(service: str, revision: str = "new", *, runs: bool = True, since: float = NOW - 60, code: int = 0) -> Seen:
    ticks = int(since * TICKS_PER_SECOND)
    return Seen("shop", service, revision, 7 if runs else None, 1.0, ticks, None if runs else code, None, False)


def wanted(*units: Unit, **more: object) -> Wanted:
    return Wanted("new", units or (DB, WEB), beside=True, leaving=OLD, **more)  # type: ignore[arg-type]


BOTH_OLD = (seen("db", "old"), seen("web", "old"))
ROWS: dict[str, tuple[tuple[Seen, ...], Wanted, list[Action]]] = {
    "the new one starts beside the earlier one, in order": (
        BOTH_OLD,
        wanted(),
        [Wait("db", None, UNTIL_UP), Start("db.b"), Wait("web.b", None, "waits until db has started")],
    ),
    "one that ended is started again as ever, and the earlier one runs on": (
        (*BOTH_OLD, seen("db.b", runs=False, code=3), seen("web.b")),
        wanted(),
        [Wait("db", None, UNTIL_UP), Settle("db.b")],
    ),
    "without a probe it is up after a while": (
        (*BOTH_OLD, seen("db.b"), seen("web.b", since=NOW - 1)),
        wanted(),
        [Wait("db", NOW - 1 + UP_S, UNTIL_UP)],
    ),
    "with a probe it is up when that is good": (
        (*BOTH_OLD, seen("db.b"), seen("web.b", since=NOW - 1)),
        wanted(probed=frozenset({"web.b"}), healthy=frozenset({"web.b"})),
        [HandOver("db.b")],
    ),
    "and not before, however long it takes": (
        (*BOTH_OLD, seen("db.b"), seen("web.b")),
        wanted(silent=frozenset({"web.b"})),
        [Wait("db", None, UNTIL_UP)],
    ),
    "what is meant to end has ended": (
        (*BOTH_OLD, seen("web.b")),
        wanted(DB, WEB, past={"db.b": Past(finished=0)}),
        [HandOver("db.b")],
    ),
    "what gave up is not up": (
        (*BOTH_OLD, seen("web.b")),
        wanted(DB, WEB, past={"db.b": Past(finished=4)}),
        [Wait("db", None, UNTIL_UP)],
    ),
    "after handing over, what was asked just before has its time": (
        (*BOTH_OLD, seen("db.b"), seen("web.b")),
        wanted(handed=NOW - 1),
        [Wait("db", NOW - 1 + DRAIN_S, "has handed over")],
    ),
    "then the earlier one stops against its order": (
        (*BOTH_OLD, seen("db.b"), seen("web.b")),
        wanted(handed=NOW - DRAIN_S),
        [Wait("db", None, "what depends on it stops first"), Stop("web", "SIGTERM", 10.0)],
    ),
    "and goes on stopping when the new one stumbles, which waits for nothing": (
        (seen("db", "old"), seen("db.b")),
        wanted(handed=NOW - DRAIN_S),
        [Stop("db", "SIGTERM", 10.0), Start("web.b")],
    ),
    "an earlier candidate in its place goes first, and the one that serves runs on": (
        (*BOTH_OLD, seen("web.b", "candidate")),
        wanted(),
        [
            Wait("db", None, UNTIL_UP),
            Stop("web.b", "SIGTERM", 10.0),
            Wait("db.b", None, "the earlier revision of web stops first"),
        ],
    ),
    "a failed candidate goes, and what runs was never touched": (
        (*BOTH_OLD, seen("web.b", "candidate")),
        Wanted("old", tuple(OLD.values())),
        [Stop("web.b", "SIGTERM", 10.0)],
    ),
    "in the same slot it is an update like others": (
        BOTH_OLD,
        wanted(Unit("db"), Unit("web")),
        [Wait("db", None, "what depends on it stops first"), Stop("web", "SIGTERM", 10.0)],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_is_done_next(row: str) -> None:
    observed, target, actions = ROWS[row]
    assert supervise(observed, target, NOW) == actions


# --- worlds

NAMES = ("a", "b", "c")


class World:
    """One host for one app that is updated start-first, and fails the test when a rule is broken."""

    def __init__(self, units: tuple[Unit, ...], present: dict[str, Seen], crashes: list[str]) -> None:
        self.units, self.present, self.crashes = units, present, crashes
        self.past: dict[str, Past] = {}
        self.stopping: dict[str, float] = {}
        self.handed: float | None = None
        self.now = NOW

    def turn(self) -> bool:
        leaving = {name: Unit(name) for name in self.present}
        target = Wanted(
            "new", self.units, past=self.past, leaving=leaving, stopping=self.stopping, beside=True, handed=self.handed
        )
        actions = supervise(tuple(self.present.values()), target, self.now)
        for action in actions:
            self._do(action)
        times = [a.until for a in actions if isinstance(a, Wait) and a.until is not None]
        done = any(not isinstance(a, Wait) for a in actions)
        if not done and times:
            self.now = min(times)
        return done or bool(times)

    def _do(self, action: Action) -> None:
        name = action.service
        revisions = {one.revision for one in self.present.values()}
        match action:
            case Start():
                assert name not in self.present
                self.present[name] = seen(name, since=self.now)
                assert len(revisions | {"new"}) <= 2, f"three revisions at once: {revisions}"
                if name in self.crashes:
                    self.crashes.remove(name)
                    self.present[name] = seen(name, since=self.now, runs=False, code=1)
            case HandOver():
                assert all(self.present[unit.name].pid for unit in self.units)
                self.handed = self.now
            case Stop():
                assert self.present[name].revision != "new"
                serves = slot_of(name) != slot_of(self.units[0].name)
                assert not serves or self.handed is not None, "the one that serves was stopped before the new one is up"
                self.stopping[name] = self.now + 10
                self.present[name] = self.present[name]._replace(pid=None, exit_code=0)
            case Kill() | Clear():
                del self.present[name]
            case Settle():
                one, spec = self.present.pop(name), next(u for u in self.units if u.name == name)
                self.past[name] = after_exit(
                    spec, self.past.get(name, Past()), exit_code=one.exit_code, ran_s=1, now=self.now, chance=0.5
                )
            case Restart() | Wait() | _:
                assert isinstance(action, Wait), action


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    st.sampled_from([A, B]),
    st.sets(st.sampled_from(NAMES), min_size=1),
    st.sets(st.sampled_from(NAMES)),
    st.lists(st.sampled_from(NAMES), max_size=5),
)
def test_from_any_world_it_takes_over_and_there_are_never_more_than_two(
    names: list[str], slot: str, serving: set[str], candidate: set[str], crashes: list[str]
) -> None:
    other = A if slot == B else B
    present = {unit(n, other): seen(unit(n, other), "old") for n in serving}
    present |= {unit(n, slot): seen(unit(n, slot), "candidate") for n in candidate}
    world = World(tuple(Unit(unit(n, slot)) for n in names), present, [unit(n, slot) for n in crashes])

    for _ in range(200):
        if not world.turn():
            break
    else:
        raise AssertionError("it does not come to rest")

    assert {name: one.revision for name, one in world.present.items()} == {unit(n, slot): "new" for n in names}
    assert world.handed is not None


@given(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.sampled_from([A, B]))
def test_a_revision_is_known_in_either_slot(digest: str, slot: str) -> None:
    other = named(digest, A if slot == B else B)
    assert twin(named(digest, slot)) == other
    assert twin(other) == named(digest, slot)
    assert (shown(unit("web", slot)), slot_of(unit("web", slot))) == ("web", slot)
    assert twin(f"{digest[:-1]}7") == f"{digest[:-1]}7"
