"""A running container takes the limits, and the name, of a revision that differs by limits alone."""

from __future__ import annotations

import pytest
from runtime_support import LIMITS, MIB, World

from edge_daemon.keeper.ports import EnforcedLimits, StartSpec
from edge_daemon.keeper.runtime import readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError, SealBrokenError
from edge_daemon.sealed import LimitValues

SLEEP = ["/bin/sleep", "1000"]
HOLD = ["/bin/sh", "-c", "dd if=/dev/zero of=/tmp/held bs=1M count=12; echo held; sleep 1000"]


def spec(host: World, args: list[str], **limits: int | str) -> StartSpec:
    changed: LimitValues = {**LIMITS, **limits}  # type: ignore[typeddict-item]
    return host.app("shop", host.service("shop", "web", args, limits=changed))["web"]


def test_the_starter_changes_limits_and_name_and_the_process_stays(host: World) -> None:
    first = spec(host, SLEEP)
    host.runtime.start(first)
    before = host.seen("shop", "web")
    new = spec(host, SLEEP, memory_bytes=48 * MIB, cpu_millis=250, pids=9)

    status, answer = host.starter("retune", "shop", "web", new.revision["revision"], new.seal)

    after = host.seen("shop", "web")
    assert (status, answer) == (0, {"pid": before.pid})
    assert host.runtime.limits("shop", "web") == EnforcedLimits(48 * MIB, 0, 250, 9)
    assert after == before._replace(revision=new.revision["revision"], seal=new.seal)
    assert host.starter("retune", "shop", "web", new.revision["revision"], new.seal) == (0, {"pid": before.pid})
    assert host.runtime.start(new) == before.pid  # what starts it finds it there already


def test_memory_that_is_in_use_cannot_be_taken_away_and_nothing_changes(host: World) -> None:
    first = spec(host, HOLD)
    pid = host.runtime.start(first)
    host.says("shop", "web", "held")
    new = spec(host, HOLD, memory_bytes=8 * MIB)

    with pytest.raises(RuntimeFailedError, match="cannot give back enough for 8192 KiB") as caught:
        host.runtime.retune(new)

    assert caught.value.element == "shop/web"
    assert (host.seen("shop", "web").pid, host.seen("shop", "web").revision) == (pid, first.revision["revision"])
    assert host.runtime.limits("shop", "web").memory_bytes == 32 * MIB


def test_memory_that_only_caches_files_is_given_back(host: World) -> None:
    service = host.service("shop", "web", ["/bin/sh", "-c", "cat /bin/busybox > /dev/null; echo read; sleep 1000"])
    pid = host.runtime.start(host.app("shop", service)["web"])
    host.says("shop", "web", "read")
    assert host.runtime.retune(spec(host, SLEEP, memory_bytes=4 * MIB)) == pid
    assert host.runtime.limits("shop", "web").memory_bytes == 4 * MIB


def test_cores_are_given_back_when_they_are_not_asked_for_any_more(host: World) -> None:
    def cores() -> str:
        group = host.runtime.group("shop", "web")
        return (readings.files(host.runtime.hierarchies, "cpuset", group).text("cpuset.cpus") or "").strip()

    first = spec(host, SLEEP)
    host.runtime.start(first)
    everything = cores()
    host.runtime.retune(spec(host, SLEEP, cpuset="0"))
    assert cores() == "0"
    host.runtime.retune(first)
    assert cores() == everything


def test_what_does_not_run_cannot_be_retuned(host: World) -> None:
    with pytest.raises(RuntimeFailedError, match="does not run"):
        host.runtime.retune(spec(host, SLEEP))
    host.runtime.start(spec(host, ["/bin/sh", "-c", "exit 3"]))
    host.ended("shop", "web")
    with pytest.raises(RuntimeFailedError, match="does not run"):
        host.runtime.retune(spec(host, SLEEP, pids=9))


def test_limits_that_were_altered_after_sealing_are_refused(host: World) -> None:
    host.runtime.start(spec(host, SLEEP))
    new = spec(host, SLEEP, pids=9)
    path = host.layout.revision("shop", new.revision["revision"]) / "revision.json"
    path.write_bytes(path.read_bytes().replace(b'"pids": 9', b'"pids": 900'))
    with pytest.raises(SealBrokenError):
        host.runtime.retune(new)
    assert host.runtime.limits("shop", "web").pids == 32
