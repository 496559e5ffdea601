"""Fork bomb, memory hog, busy loop and open files: contained, while the neighbour and the daemon go on."""

from __future__ import annotations

import time

import pytest
from runtime_support import LIMITS, MIB, World, fetch, wait_for

pytestmark = pytest.mark.alone

HTTPD = ["/bin/httpd", "-f", "-p", "80", "-h", "/"]


def start_neighbour(host: World) -> None:
    host.runtime.start(
        host.app("calm", host.service("calm", "web", HTTPD, address="10.88.9.2"), subnet="10.88.9.0/24")["web"]
    )
    wait_for(calm, 5, "the neighbour")


def calm() -> bool:
    try:
        return b"hello" in fetch("10.88.9.2", 80)
    except OSError:
        return False


def test_threat_51_a_fork_bomb_stays_within_its_pids_and_the_neighbour_answers(host: World) -> None:
    start_neighbour(host)
    bomb = "b() { b | b & }; while :; do b 2>/dev/null; done"
    host.runtime.start(host.app("evil", host.service("evil", "bomb", ["/bin/sh", "-c", bomb]))["bomb"])
    most = 0
    for _ in range(10):
        most = max(most, host.runtime.usage("evil", "bomb").pids or 0)
        began = time.monotonic()
        assert calm()
        assert time.monotonic() - began < 2
        time.sleep(0.05)
    assert most <= LIMITS["pids"]
    host.runtime.remove("evil", "bomb")
    assert [s.app for s in host.runtime.seen()] == ["calm"]


def test_threat_51_a_memory_hog_is_killed_alone(host: World) -> None:
    start_neighbour(host)
    hog = ["/bin/sh", "-c", "x=0123456789; while :; do x=$x$x; done"]
    host.runtime.start(host.app("evil", host.service("evil", "hog", hog))["hog"])
    assert host.ended("evil", "hog").oom_killed
    assert calm()
    assert host.seen("calm", "web").pid is not None


def test_threat_51_memory_taken_by_files_counts_as_well(host: World) -> None:
    fill = ["/bin/sh", "-c", "dd if=/dev/zero of=/big bs=1M count=200; echo status $?; sleep 1000"]
    service = host.service("evil", "fill", fill, read_only=False)
    host.runtime.start(host.app("evil", service)["fill"])
    wait_for(lambda: host.seen("evil", "fill").pid is None or "status" in host.log("evil", "fill"), 20, "the end of it")
    assert "status 0" not in host.log("evil", "fill")
    assert (host.runtime.usage("evil", "fill").memory_peak_bytes or 0) <= 32 * MIB


def test_threat_51_a_busy_loop_gets_its_share_and_no_more(host: World) -> None:
    spin = ["/bin/sh", "-c", "while :; do :; done & while :; do :; done"]
    service = host.service("evil", "spin", spin, limits={**LIMITS, "cpu_millis": 200})
    host.runtime.start(host.app("evil", service)["spin"])
    time.sleep(0.3)
    before, began = host.runtime.usage("evil", "spin").cpu_usec or 0, time.monotonic()
    time.sleep(1.5)
    share = ((host.runtime.usage("evil", "spin").cpu_usec or 0) - before) / (time.monotonic() - began) / 1e6
    assert share < 0.3


def test_threat_51_open_files_are_bounded(host: World) -> None:
    spec = host.app(
        "evil", host.service("evil", "files", ["/bin/sh", "-c", "ulimit -n; ulimit -n 100000 2>&1 && echo raised"])
    )
    host.runtime.start(spec["files"])
    host.ended("evil", "files")
    said = host.log("evil", "files").splitlines()
    assert said[0] == str(LIMITS["nofile"])
    assert "not permitted" in said[-1]
