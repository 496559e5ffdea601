"""The main story with crun, as a program of its own: run by test_runtime_crun in a private mount namespace."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import pytest
from runtime_support import MIB, fetch, wait_for, world

from edge_daemon.keeper.ports import EnforcedLimits
from edge_daemon.keeper.runtime.errors import RuntimeFailedError


def answers() -> bool:
    try:
        return b"hello from the container" in fetch("127.0.0.1", 8080)
    except OSError:
        return False


with world("crun") as host:
    assert host.runtime.chosen.kind == "crun"
    ports = [{"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"}]
    web = host.service("shop", "web", ["/bin/httpd", "-f", "-p", "80", "-h", "/"], ports=ports)  # type: ignore[arg-type]
    hog = host.service("shop", "hog", ["/bin/sh", "-c", "x=01234567; while :; do x=$x$x; done"], address="10.88.3.3")
    bad = host.service("shop", "bad", ["/bin/nothing-here"], address="10.88.3.4")
    look = host.service(
        "shop", "look", ["/bin/sh", "-c", "ls /sys/class/net; cat /proc/self/status"], address="10.88.3.5"
    )
    specs = host.app("shop", web, hog, bad, look)
    status, answer = host.starter("start", "shop", "web", specs["web"].revision["revision"], specs["web"].seal, "65536")
    assert status == 0, answer
    wait_for(answers, 5, "the web service")
    assert host.seen("shop", "web").pid == answer["pid"]
    assert host.runtime.limits("shop", "web") == EnforcedLimits(32 * MIB, 0, 500, 32)
    host.runtime.start(specs["hog"])
    seen = host.ended("shop", "hog")
    assert (seen.exit_code, seen.oom_killed) == (137, True), seen
    host.runtime.start(specs["look"])
    host.ended("shop", "look")
    said = host.log("shop", "look")
    assert said.startswith("eth0\nlo\n"), said
    assert "CapBnd:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "Seccomp:\t2" in said
    with pytest.raises(RuntimeFailedError, match="nothing-here"):
        host.runtime.start(specs["bad"])
    host.runtime.remove("shop", "web")
    assert not answers()
sys.stdout.write("told\n")
