"""An app's own total, on the group around its containers, and rates of the disk: as the kernel says and keeps them."""

from __future__ import annotations

import pytest
from runtime_support import LIMITS, MIB, World

from edge_daemon.keeper.ports import EnforcedLimits, StartSpec
from edge_daemon.keeper.runtime import readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.sealed import LimitValues, TotalValues

SLEEP = ["/bin/sleep", "1000"]
HOLD = ["/bin/sh", "-c", "dd if=/dev/zero of=/tmp/held bs=1M count=12; echo held; sleep 1000"]
HOG = ["/bin/sh", "-c", "until [ -f /data/go ]; do sleep 0.1; done; x=0123456789; while :; do x=$x$x; done"]


def pair(host: World, total: TotalValues | None, *, hog: bool = False, **limits: int) -> dict[str, StartSpec]:
    """Two services of one app with that total."""
    host.total = total
    own: LimitValues = {**LIMITS, **limits}  # type: ignore[typeddict-item]
    volumes = [{"name": "data", "target": "/data", "read_only": True}]
    calm = host.service("shop", "calm", HOLD, network="none", limits=own)
    web = host.service("shop", "web", HOG if hog else SLEEP, network="none", limits=own, volumes=volumes)  # type: ignore[arg-type]
    return host.app("shop", calm, web)


def start(host: World, specs: dict[str, StartSpec]) -> dict[str, int]:
    return {name: host.runtime.start(spec) for name, spec in specs.items()}


def test_the_total_is_read_back_from_the_kernel_and_gone_without_one(host: World) -> None:
    start(host, pair(host, {"memory_bytes": 48 * MIB, "cpu_millis": 700, "pids": 40}))
    assert host.runtime.total("shop") == EnforcedLimits(48 * MIB, 0, 700, 40)
    for name in ("web", "calm"):
        host.runtime.remove("shop", name)
    start(host, pair(host, None))
    assert host.runtime.total("shop") == EnforcedLimits(None, None, None, None)


def test_the_total_changes_live_with_the_limits_below_it_up_and_down(host: World) -> None:
    pids = start(host, pair(host, {"memory_bytes": 48 * MIB, "cpu_millis": 700}))
    for total, millis in (({"cpu_millis": 300}, 200), ({"cpu_millis": 1500, "pids": 50}, 900), ({}, 400)):
        specs = pair(host, total, cpu_millis=millis)  # type: ignore[arg-type]
        assert {name: host.runtime.retune(spec) for name, spec in specs.items()} == pids
        wanted = EnforcedLimits(None, None, total.get("cpu_millis"), total.get("pids"))
        assert host.runtime.total("shop") == wanted
        assert host.runtime.limits("shop", "web").cpu_millis == millis


def test_a_total_below_what_is_in_use_is_refused_and_the_containers_run_on(host: World) -> None:
    host.total = None
    first = host.app("shop", host.service("shop", "web", HOLD, network="none"))["web"]
    pid = host.runtime.start(first)
    host.says("shop", "web", "held")
    host.total = {"memory_bytes": 8 * MIB}
    with pytest.raises(RuntimeFailedError, match="cannot give back enough for 8192 KiB"):
        host.runtime.retune(host.app("shop", host.service("shop", "web", HOLD, network="none"))["web"])
    assert host.seen("shop", "web").pid == pid
    assert host.seen("shop", "web").revision == first.revision["revision"]


def test_who_takes_more_than_the_total_ends_and_its_neighbour_in_the_app_runs_on(host: World) -> None:
    pids = start(host, pair(host, {"memory_bytes": 40 * MIB}, hog=True, memory_bytes=36 * MIB))
    host.says("shop", "calm", "held")
    (host.layout.volumes / "shop" / "data" / "go").touch()
    assert host.ended("shop", "web").oom_killed
    assert (host.runtime.usage("shop", "web").memory_peak_bytes or 0) < 30 * MIB  # it never came to its own limit
    calm = host.seen("shop", "calm")
    assert (calm.pid, calm.oom_killed) == (pids["calm"], False)


def test_operations_of_the_disk_a_second_are_limited_and_change_live(host: World) -> None:
    def rates() -> dict[str, str]:
        own = readings.files(host.runtime.hierarchies, "blkio", host.runtime.group("shop", "web"))
        names = ("read_iops", "write_iops", "read_bps", "write_bps")
        if own.v2:
            return dict(word.split("=") for word in (own.text("io.max") or "").split()[1:])
        return {name: (own.text(f"blkio.throttle.{name}_device") or "").strip().partition(" ")[2] for name in names}

    def spec(**limits: int) -> StartSpec:
        own: LimitValues = {**LIMITS, **limits}  # type: ignore[typeddict-item]
        return host.app("shop", host.service("shop", "web", SLEEP, network="none", limits=own))["web"]

    pid = host.runtime.start(spec(io_read_iops=50, io_write_iops=70))
    assert [value for value in rates().values() if value not in ("", "max")] == ["50", "70"]
    assert host.runtime.retune(spec(io_write_iops=20, io_read_bps=1 << 20)) == pid
    assert sorted(value for value in rates().values() if value not in ("", "max")) == ["1048576", "20"]
    host.runtime.retune(spec())
    assert set(rates().values()) <= {"", "max"}
