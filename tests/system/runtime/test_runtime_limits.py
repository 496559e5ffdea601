"""Limits as the kernel says them, live changes, and what happens to those who run into them."""

from __future__ import annotations

from pathlib import Path

import pytest
from runtime_support import LIMITS, MIB, World, fetch, wait_for

from edge_daemon.keeper.ports import EnforcedLimits
from edge_daemon.keeper.runtime import readings, records
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.sealed import LimitValues

SLEEP = ["/bin/sleep", "1000"]
SPIN = ["/bin/sh", "-c", "while :; do :; done"]
HOG = "x=0123456789; while :; do x=$x$x; done"


def start(host: World, args: list[str], limits: LimitValues = LIMITS) -> int:
    return host.runtime.start(host.app("shop", host.service("shop", "web", args, limits=limits))["web"])


def limited(**changes: int) -> LimitValues:
    return {**LIMITS, **changes}  # type: ignore[typeddict-item]


def test_the_limits_of_a_running_container_are_read_back_from_the_kernel(host: World) -> None:
    start(host, SLEEP)
    assert host.runtime.limits("shop", "web") == EnforcedLimits(32 * MIB, 0, 500, 32)


def test_what_is_not_there_has_no_limits_and_no_numbers(host: World) -> None:
    assert set(host.runtime.limits("shop", "web")) == {None}
    assert set(host.runtime.usage("shop", "web")) == {None}


@pytest.mark.parametrize("memory", [16 * MIB, 64 * MIB, 32 * MIB])
def test_limits_change_while_it_runs_up_and_down_and_the_pid_stays(host: World, memory: int) -> None:
    pid = start(host, SLEEP)
    host.runtime.update_limits("shop", "web", limited(memory_bytes=memory, cpu_millis=250, pids=8))
    assert host.runtime.limits("shop", "web") == EnforcedLimits(memory, 0, 250, 8)
    assert host.seen("shop", "web").pid == pid


def test_limits_of_a_container_that_is_gone_cannot_be_changed_and_it_is_said(host: World) -> None:
    with pytest.raises(RuntimeFailedError, match="could not be set to"):
        host.runtime.update_limits("shop", "web", LIMITS)


def test_use_is_counted_and_a_busy_container_is_throttled_to_its_share(host: World) -> None:
    start(host, SPIN, limited(cpu_millis=100))
    wait_for(lambda: (host.runtime.usage("shop", "web").throttled_usec or 0) > 0, 10, "throttling")
    usage = host.runtime.usage("shop", "web")
    assert 0 < (usage.memory_bytes or 0) < 32 * MIB
    assert (usage.memory_peak_bytes or 0) >= (usage.memory_bytes or 0)
    assert usage.pids == 1
    assert usage.oom_kills == 0
    before = host.runtime.usage("shop", "web").cpu_usec or 0
    wait_for(lambda: (host.runtime.usage("shop", "web").cpu_usec or 0) > before, 10, "use of the processor")


def test_a_container_that_takes_too_much_memory_is_killed_and_reported_as_such(host: World) -> None:
    start(host, ["/bin/sh", "-c", HOG])
    seen = host.ended("shop", "web")
    assert (seen.exit_code, seen.oom_killed) == (137, True)
    assert (host.runtime.usage("shop", "web").oom_kills or 0) > 0
    peak = host.runtime.usage("shop", "web").memory_peak_bytes
    assert peak is not None
    assert peak <= 32 * MIB


def test_an_ordinary_failure_is_not_called_out_of_memory(host: World) -> None:
    start(host, ["/bin/sh", "-c", "exit 137"])
    seen = host.ended("shop", "web")
    assert (seen.exit_code, seen.oom_killed) == (137, False)


def test_the_start_after_an_out_of_memory_kill_begins_with_clean_counts(host: World) -> None:
    start(host, ["/bin/sh", "-c", HOG])
    host.ended("shop", "web")
    start(host, SLEEP)
    assert host.runtime.usage("shop", "web").oom_kills == 0
    assert not host.seen("shop", "web").oom_killed


def test_the_groups_of_daemon_prepare_and_apps_stand_side_by_side(host: World) -> None:
    folder = host.runtime.hierarchies.folder("memory", host.cgroup_parent)
    from pathlib import Path

    assert folder is not None
    assert {p.name for p in Path(folder).iterdir() if p.is_dir()} == {"daemon", "prepare", "apps", "monitors"}


def test_a_process_can_be_moved_into_the_daemons_group(host: World) -> None:
    import subprocess
    from pathlib import Path

    from edge_daemon.keeper.runtime import groups

    child = subprocess.Popen(["sleep", "100"])
    try:
        groups.join(host.runtime.hierarchies, f"{host.cgroup_parent}/daemon", child.pid)
        lines = Path(f"/proc/{child.pid}/cgroup").read_text().splitlines()
        assert any(
            line.endswith(f"{host.cgroup_parent}/daemon")
            for line in lines
            if "memory" in line or line.startswith("0::")
        )
    finally:
        child.kill()
        child.wait()


def test_a_kill_that_left_the_rest_running_is_seen_on_v1_and_cannot_happen_on_v2(host: World) -> None:
    start(host, ["/bin/sh", "-c", f"({HOG}) ; echo child gone; sleep 1000"])
    if host.runtime.hierarchies.is_v2("memory"):
        assert host.ended("shop", "web").oom_killed
        return
    host.says("shop", "web", "child gone")
    wait_for(lambda: host.seen("shop", "web").oom_killed, 5, "the kernel's word")
    assert host.seen("shop", "web").pid is not None
    host.runtime.signal("shop", "web", "SIGKILL")
    assert (host.ended("shop", "web").exit_code, host.ended("shop", "web").oom_killed) == (137, True)


def test_a_container_that_runs_well_was_not_killed_in_part(host: World) -> None:
    start(host, SLEEP)
    assert not host.seen("shop", "web").oom_killed


def test_bytes_of_the_network_and_pressure_are_counted(host: World) -> None:
    start(host, ["/bin/httpd", "-f", "-p", "80", "-h", "/"])
    wait_for(lambda: b"hello" in fetched(), 5, "the service")
    usage = host.runtime.usage("shop", "web")
    assert (usage.net_rx_bytes or 0) > 100
    assert (usage.net_tx_bytes or 0) > 100
    assert (usage.cpu_stalled_usec is None) == (host.runtime.hierarchies.unified is None)
    assert usage.io_read_bytes is not None


def fetched() -> bytes:
    try:
        return fetch("10.88.3.2", 80)
    except OSError:
        return b""


def test_the_pump_of_the_log_stands_in_a_group_of_its_own_with_small_limits_and_leaves_none_behind(host: World) -> None:
    start(host, ["/bin/yes", "all work and no play makes jack a dull boy"])
    pid = records.read_meta(str(host.layout.container("shop", "web")))["conmon_pid"]  # type: ignore[index]
    group = f"{host.cgroup_parent}/monitors/shop.web"
    folder = host.runtime.hierarchies.folder("cpu", group)
    assert Path(f"{folder}/cgroup.procs").read_text().split() == [str(pid)]
    assert readings.limits(host.runtime.hierarchies, group) == EnforcedLimits(16 * MIB, 0, 100, 16)
    wait_for(lambda: (readings.usage(host.runtime.hierarchies, group).throttled_usec or 0) > 0, 20, "throttling")
    host.runtime.remove("shop", "web")
    assert not Path(str(folder)).exists()
