"""The state directory has no room left: the keeper says so once, goes on with all else, and loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from keeper_support import Host

from edge_daemon.keeper.runtime import syscalls

ROOM = 4 << 20


@pytest.fixture
def small(edge: Host) -> Iterator[Host]:
    """The same host with a state directory of 4 MiB."""
    state, aside = edge.layout.state, edge.layout.state.with_name("aside")
    shutil.copytree(state, aside)
    syscalls.mount("tmpfs", str(state), "tmpfs", 0, f"size={ROOM},mode=0711")
    shutil.copytree(aside, state, dirs_exist_ok=True)
    edge.keeper.log = state.with_name("keeper.log")
    yield edge
    edge.close()
    syscalls.umount(str(state), syscalls.MNT_DETACH)


def fill(edge: Host) -> None:
    with suppress(OSError), (edge.layout.state / "junk").open("ab", buffering=0) as junk:
        while True:
            junk.write(bytes(4096))


def troubles(edge: Host) -> list[str]:
    lines = edge.keeper.log.read_text().splitlines()
    return [line for line in lines if "full" in line or "No space" in line]


def test_a_full_disk_is_said_once_holds_up_nothing_else_and_loses_nothing(small: Host) -> None:
    small.online()
    small.apply({"shop": {"release": "1.0", "services": ["web", "db"]}})
    before = small.keeper.pids()
    small.server.until(lambda: small.server.count("app.updated") == 1)
    fill(small)

    os.kill(before["shop/web"], signal.SIGKILL)
    small.server.until(lambda: troubles(small), why="the keeper did not notice")
    began = time.monotonic()
    while time.monotonic() < began + 5:
        small.server.pump()
        assert small.keeper.ask(ask="status")  # it answers all the while
    said = troubles(small)
    assert len(said) == len(set(said)), said
    assert small.server.count("container.exited") == 0

    (small.layout.state / "junk").unlink()
    small.server.until(lambda: small.server.count("container.exited") == 1)
    small.server.until(lambda: small.server.count("container.started") == 3)
    after = small.keeper.pids()
    assert (after["shop/db"], after["shop/web"] != before["shop/web"]) == (before["shop/db"], True)
    numbers = sorted(number for _, number in small.server.stored)
    assert numbers == list(range(1, len(numbers) + 1))
