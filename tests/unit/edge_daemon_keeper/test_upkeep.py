from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.upkeep import (
    DAY_S,
    Checked,
    Upkeep,
    Withdrawn,
    known_now,
    read_withdrawn,
    stops_in,
    write_withdrawn,
)

NOTHING = b'{"checked": {"stops": [], "unread": []}}'
STOP = b'{"checked": {"stops": [{"app": "shop", "release": "1.0.0", "reason": "leaks"}], "unread": ["blog"]}}'


class Commands:
    def renew(self) -> list[str]:
        return ["renew"]

    def check(self) -> list[str]:
        return ["check"]

    def settle(self) -> list[str]:
        return ["settle"]


class HeldChildren:
    """Holds what was started until the test ends it."""

    def __init__(self) -> None:
        self.started: list[tuple[str, float]] = []
        self.ends: dict[str, tuple[Callable[[bytes], None], Callable[[int], None]]] = {}

    def spawn(self, argv: list[str], line: Any, end: Any, *, now: float, deadline: float) -> None:
        assert deadline > 0
        self.started.append((argv[0], now))
        self.ends[argv[0]] = (line, end)

    def end(self, name: str, status: int, line: bytes = b"") -> None:
        heard, ended = self.ends.pop(name)
        if line:
            heard(line)
        ended(status)


@pytest.fixture
def children() -> HeldChildren:
    return HeldChildren()


def make(children: HeldChildren, heard: list[Checked], chance: float = 0.5) -> Upkeep:
    return Upkeep(Commands(), cast("Children", children), now=0.0, chance=lambda: chance, checked=heard.append)


def test_both_duties_come_once_a_day_and_not_at_once(children: HeldChildren) -> None:
    upkeep = make(children, [])
    now = 0.0
    while now < 3 * DAY_S:
        now = max(now + 1.0, upkeep.step(now))
        for name in list(children.ends):
            children.end(name, 0, NOTHING)
    days = {name: [at for started, at in children.started if started == name] for name in ("renew", "check")}
    assert all(len(times) == 3 for times in days.values()), days
    assert min(at for _, at in children.started) > 0


def test_idle_memory_is_given_back_after_the_first_report_and_then_every_hour(children: HeldChildren) -> None:
    upkeep = make(children, [], chance=1.0)
    for now in (10.0, 11.0, 60.0, 3600.0, 3611.0):
        if now < 3600.0:
            upkeep.reported(now)
        upkeep.step(now)
        if "settle" in children.ends:
            children.end("settle", 0, b'{"settled": 4096}')
    assert [at for name, at in children.started if name == "settle"] == [10.0, 3611.0]


def test_it_is_given_back_without_anybody_to_report_to(children: HeldChildren) -> None:
    upkeep = make(children, [], chance=1.0)
    upkeep.step(upkeep.step(0.0))
    assert children.started == [("settle", 300.0)]


def test_a_duty_that_failed_is_tried_again_sooner_with_growing_waits(children: HeldChildren) -> None:
    upkeep = make(children, [])
    now, times = 0.0, []
    for _ in range(6):
        now = upkeep.step(now)
        upkeep.step(now)
        if "renew" in children.ends:
            times.append(now)
            children.end("renew", 8)
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert waits == sorted(waits)
    assert 0 < waits[0] < 120
    assert waits[-1] < DAY_S


def test_the_server_may_ask_for_a_look_once_a_minute(children: HeldChildren) -> None:
    upkeep = make(children, [])
    for second in range(0, 300, 10):
        upkeep.asked(b'{"request": "check"}', 1000.0 + second)
        upkeep.step(1000.0 + second)
        if "check" in children.ends:
            children.end("check", 0, NOTHING)
    assert [at for name, at in children.started if name == "check"] == [1000.0, 1060.0, 1120.0, 1180.0, 1240.0]


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"request": "exec"}', b"\xff" * 100_000])
def test_nothing_else_can_be_asked_for(children: HeldChildren, payload: bytes) -> None:
    upkeep = make(children, [])
    upkeep.asked(payload, 1000.0)
    upkeep.step(1000.0)
    assert [name for name, _ in children.started if name == "check"] == []


def test_a_withdrawal_is_told(children: HeldChildren) -> None:
    heard: list[Checked] = []
    upkeep = make(children, heard)
    upkeep.asked(b'{"request":"check"}', 1.0)
    upkeep.step(1.0)
    children.end("check", 0, STOP)
    assert heard == [Checked({"shop": {"1.0.0": "leaks"}}, frozenset({"blog"}))]


def test_a_check_that_failed_tells_nothing(children: HeldChildren) -> None:
    heard: list[Checked] = []
    upkeep = make(children, heard)
    upkeep.asked(b'{"request":"check"}', 1.0)
    upkeep.step(1.0)
    children.end("check", 9, STOP)
    assert heard == []


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"checked": 1}', b'{"checked": {"stops": [1]}}'])
def test_a_line_of_another_kind_is_no_withdrawal(line: bytes) -> None:
    assert stops_in([line] if line else []) is None


BEFORE: Withdrawn = {"shop": {"1.0.0": "leaks"}}


@pytest.mark.parametrize(
    ("checked", "then"),
    [
        pytest.param(Checked({}), {}, id="what its signers took back themselves holds no more"),
        pytest.param(Checked({}, frozenset({"shop"})), BEFORE, id="what could not be read holds as it did"),
        pytest.param(Checked({"shop": {"1.1.0": ""}}), {"shop": {"1.1.0": ""}}, id="what was read replaces it"),
        pytest.param(Checked({"blog": {"2": ""}}, frozenset({"shop"})), {**BEFORE, "blog": {"2": ""}}, id="both"),
    ],
)
def test_what_holds_after_a_look(checked: Checked, then: Withdrawn) -> None:
    assert known_now(BEFORE, checked) == then


def test_withdrawals_survive_in_the_database() -> None:
    withdrawn: Withdrawn = {"shop": {"1.0.0": "leaks", "0.9.0": ""}}
    assert read_withdrawn(write_withdrawn(withdrawn)) == withdrawn
    assert read_withdrawn(None) == {}
