"""The log of a container is a ring: bounded over any number of runs, and what was said last can be read."""

from __future__ import annotations

from contextlib import ExitStack

from runtime_support import World, room_used, wait_for

from edge_daemon.commands.logs import tail
from edge_daemon.keeper.runtime import monitor

ROOM = 64 * 1024


def run(host: World, number: int, lines: int) -> None:
    say = f"i=0; while [ $i -lt {lines} ]; do echo run {number} line $i of a container that talks; i=$((i+1)); done"
    host.runtime.start(host.app("shop", host.service("shop", "web", ["/bin/sh", "-c", f"{say}; exit {number}"]))["web"])
    host.ended("shop", "web")


def texts(host: World, count: int) -> list[str]:
    with ExitStack() as files:
        logs = [host.layout.logs / "shop" / "web" / name for name in ("ctr.log", "ctr.log.1")]
        handles = [files.enter_context(log.open("rb")).fileno() for log in logs if log.exists()]
        return [line.text for line in tail(handles, count)]


def used(host: World) -> int:
    return room_used(host.layout.logs / "shop" / "web")


def test_what_earlier_runs_said_is_read_before_what_the_last_one_said(host: World) -> None:
    run(host, 1, 300)
    run(host, 2, 2)
    assert (host.layout.logs / "shop" / "web" / "ctr.log.1").exists()
    assert texts(host, 3) == [
        "run 1 line 299 of a container that talks",
        "run 2 line 0 of a container that talks",
        "run 2 line 1 of a container that talks",
    ]


def test_many_runs_stay_within_the_room_of_one_log(host: World) -> None:
    for number, lines in enumerate((150, 150, 400, 120, 250), start=1):
        run(host, number, lines)
        assert used(host) <= ROOM + 8192
    assert texts(host, 1) == ["run 5 line 249 of a container that talks"]


def test_a_log_is_read_while_its_container_floods_it(host: World) -> None:
    host.runtime.start(host.app("shop", host.service("shop", "web", ["/bin/yes", "much too much"]))["web"])
    wait_for(lambda: (host.runtime.usage("shop", "web").cpu_usec or 0) > 100_000, 20, "much output")
    for _ in range(20):
        assert all(text in "much too much" for text in texts(host, 50))  # the first and last may be cut
        assert used(host) <= monitor.run_log_bytes(ROOM) + 8192
