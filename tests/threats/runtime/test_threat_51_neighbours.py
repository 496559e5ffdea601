"""Hogs in one app, under the real daemon: another app's requests and the daemon's own answers stay within twice what
they took before, nothing is restarted, and nothing outside of the hog's limits is used up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from runtime_support import LIMITS, MIB, World, fetch, wait_for

from edge_daemon.keeper.local_client import ask
from edge_daemon.keeper.runtime import readings
from edge_daemon.sealed import INDEX_SCHEMA, LimitValues
from fleet_protocol.wire.errors import RoadsteadError

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

HOGS = {
    # as many shells that fork without end as their limit leaves alive
    "forks": "for i in $(cat /data/names); do (while :; do (:); done) 2>/dev/null & done & exec tail -f /dev/null",
    "memory": "while :; do (x=0123456789; while :; do x=$x$x; done); done",
    "processor": "for i in 1 2 3 4; do (while :; do :; done) & done; wait",
    "descriptors": 'f=; for i in $(cat /data/names); do f="$f /etc/passwd"; done; '
    "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do tail -f $f >/dev/null 2>&1 & done; wait",
    "log": "yes all work and no play makes jack a dull boy",
    "disk": "while :; do for d in /junk /tmp /run /dev/shm; do dd if=/dev/zero of=$d/x bs=1M count=64; rm $d/x; done; "
    "done",
}
WAIT_FOR_IT = "until [ -f /data/{name} ]; do sleep 0.1; done; "
ROUNDS, CALLS, TRIES = 10, 20, 3
SLICE_S = 0.010
"""A process that wants a busy processor waits for the slice of whoever has it, some 3 ms, and a request passes through
three processes: one call in twenty may meet that, the middle of them may not."""


@contextmanager
def daemon(host: World) -> Iterator[None]:
    """The real keeper, without a broker in reach."""
    layout = host.layout
    layout.identity.mkdir(mode=0o700)
    identity = {
        "device_id": "pump-3",
        "server_url": "https://127.0.0.1:1",
        "broker_host": "127.0.0.1",
        "broker_port": 1,
    }
    layout.identity_json.write_text(json.dumps(identity))
    words = ["--state-dir", str(layout.state), "--run-dir", str(layout.run), "--cgroup-parent", host.cgroup_parent]
    log = host.base / "keeper.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", "-OO", "-m", "edge_daemon.keeper", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def desired(host: World) -> None:
    """A generation with a calm app, and one whose services each wait for the word to become a hog."""
    volumes = [
        {"name": "data", "target": "/data", "read_only": True},
        {"name": "junk", "target": "/junk", "read_only": False, "quota_bytes": 16 * MIB},
    ]
    limits: LimitValues = {**LIMITS, "cpu_millis": 400}
    evil = [
        host.service(
            "evil", name, ["/bin/sh", "-c", WAIT_FOR_IT.format(name=name) + hog], network="none", limits=limits,
            volumes=volumes,  # type: ignore[arg-type]
        )
        for name, hog in HOGS.items()
    ]  # fmt: skip
    for sealed, _ in evil:
        sealed["restart_policy"] = "always"
    calm = host.service("calm", "web", ["/bin/httpd", "-f", "-p", "80", "-h", "/"], address="10.88.9.2")
    apps: dict[str, Any] = {}
    for app, specs in (("calm", host.app("calm", calm, subnet="10.88.9.0/24")), ("evil", host.app("evil", *evil))):
        spec = next(iter(specs.values()))
        apps[app] = {"revision": spec.revision["revision"], "seal": spec.seal, "release": "1.0.0"}
    settings = {"log_bytes_per_container": 64 * 1024}
    index = {"schema": INDEX_SCHEMA, "generation": 1, "sha256": "0" * 64, "apps": apps, "settings": settings}
    path = host.layout.generation(1)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(index))


def calm_answers() -> None:
    assert b"hello" in fetch("10.88.9.2", 80)


def containers(host: World) -> dict[str, dict[str, Any]]:
    try:
        told = ask(host.layout.run, {"ask": "ps"})["containers"]
    except RoadsteadError:
        return {}
    return {f"{c['app']}/{c['name']}": c for c in told}


class Took(NamedTuple):
    """How long calls took while the hog was frozen, and while it ran; seconds."""

    quiet: list[float]
    loud: list[float]

    def slower(self) -> str:
        """ "" or how far beyond twice it went: the middle of all calls strictly, the slowest of twenty with a slice."""
        for what, part, slack in (("median", 0.5, 0.0), ("95th percentile", 0.95, SLICE_S)):
            quiet, loud = (sorted(times)[int(len(times) * part)] for times in self)
            if loud > 2 * quiet + slack:
                return f"{what} {loud * 1000:.2f} ms, {quiet * 1000:.2f} ms without"
        return ""


def measured(host: World, name: str, calls: Sequence[Callable[[], None]]) -> dict[str, Took]:
    """The hog is frozen and let go in turns, so that whatever else the machine does falls on both alike."""
    out = {call.__name__: Took([], []) for call in calls}
    for _ in range(ROUNDS):
        for frozen in (True, False):
            freeze(host, name, frozen=frozen)
            for call in calls:
                call()  # warm
                for _ in range(CALLS):
                    began = time.perf_counter()
                    call()
                    out[call.__name__][0 if frozen else 1].append(time.perf_counter() - began)
                    time.sleep(0.003)
    return out


def slowed(host: World, name: str, calls: Sequence[Callable[[], None]]) -> list[str]:
    """What was slowed down beyond the bounds, each time that it was measured: other load can only add to one."""
    said: list[str] = []
    for _ in range(TRIES):
        took = measured(host, name, calls)
        if not (slow := [f"{name}: {call} {words}" for call, each in took.items() if (words := each.slower())]):
            return []
        said += slow
    return said


def freeze(host: World, name: str, *, frozen: bool) -> None:
    """Hold every process of the container, or let them go. One that is between two starts is quiet anyway."""
    found, group = host.runtime.hierarchies, host.runtime.group("evil", name)
    old = found.v1.get("freezer")
    path = Path(f"{old}{group}/freezer.state" if old else f"{found.unified}{group}/cgroup.freeze")
    with suppress(OSError):
        path.write_text(("FROZEN" if frozen else "THAWED") if old else str(int(frozen)))
    time.sleep(0.05)


def test_threat_51_no_hog_slows_its_neighbour_or_the_daemon_beyond_twice(host: World) -> None:
    desired(host)
    free = os.statvfs(host.base)
    with daemon(host):
        wait_for(lambda: sum(c["state"] == "running" for c in containers(host).values()) == 7, 30, "7 containers")
        before = containers(host)["calm/web"]["pid"]
        data = host.layout.volumes / "evil" / "data"
        (data / "names").write_text("x " * 200)

        def daemon_answers() -> None:
            ask(host.layout.run, {"ask": "status"})

        slow = []
        for name in HOGS:
            (data / name).touch()
            wait_for(lambda n=name: busy(host, n), 20, f"{name} to begin")  # type: ignore[misc]
            slow += slowed(host, name, (calm_answers, daemon_answers))
            assert (host.runtime.usage("evil", name).memory_bytes or 0) <= LIMITS["memory_bytes"]
            assert (host.runtime.usage("evil", name).pids or 0) <= LIMITS["pids"]
            (data / name).unlink()
            host.runtime.signal("evil", name, "SIGKILL")
            wait_for(lambda n=name: (host.runtime.usage("evil", n).pids or 0) < 4, 20, f"{name} to end")  # type: ignore[misc]
        assert slow == []
        assert containers(host)["calm/web"]["pid"] == before
        assert containers(host)["calm/web"]["restarts"] == 0
    after = os.statvfs(host.base)
    assert (free.f_bavail - after.f_bavail) * free.f_frsize < 64 * MIB
    assert free.f_ffree - after.f_ffree < 2000


def busy(host: World, name: str) -> bool:
    """It runs into its limits."""
    usage = host.runtime.usage("evil", name)
    if name == "descriptors":
        return descriptors(host, name) > 2000
    if name == "forks":
        own = readings.files(host.runtime.hierarchies, "pids", host.runtime.group("evil", name))
        return (readings.keyed(own.text("pids.events"), "max") or 0) > 0  # forks that were refused
    if name == "memory":
        return int(containers(host)["evil/memory"]["oom_kills"]) > 0
    if name == "log":
        pump = f"{host.cgroup_parent}/monitors/evil.log"
        return (readings.usage(host.runtime.hierarchies, pump).throttled_usec or 0) > 0
    return (usage.cpu_usec or 0) > 500_000


def descriptors(host: World, name: str) -> int:
    """Open files of all processes of the container."""
    folder = host.runtime.hierarchies.folder("pids", host.runtime.group("evil", name))
    pids = Path(f"{folder}/cgroup.procs").read_text().split()
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
