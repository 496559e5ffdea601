"""Whoever started a container may die; whoever comes next finds it as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
import time

import pytest
from runtime_support import PYTHON, World, wait_for

from edge_daemon.keeper.runtime import processes, records
from edge_daemon.keeper.runtime.host import HostRuntime
from fleet_protocol.wire.errors import Exit

FOREVER = ["/bin/sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 1000 & wait; done"]


def meta_of(host: World) -> records.Meta:
    meta = records.read_meta(str(host.layout.container("shop", "web")))
    assert meta is not None
    return meta


def another_daemon(host: World) -> HostRuntime:
    return HostRuntime(host.layout, host.cgroup_parent)


def test_a_killed_daemon_changes_nothing_and_the_next_one_learns_the_exit_code(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER))["web"]
    command = host.runtime.starter_command("start", "shop", "web", spec.revision["revision"], spec.seal, "65536")
    keeper = textwrap.dedent(f"""
        import subprocess, sys, time
        print(subprocess.run({command!r}, capture_output=True, text=True).stdout, flush=True)
        time.sleep(1000)
    """)
    with subprocess.Popen([PYTHON, "-c", keeper], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pid = json.loads(daemon.stdout.readline())["pid"]
        host.says("shop", "web", "up")
        daemon.kill()
    adopted = another_daemon(host)
    adopted.setup()
    assert [(s.pid, s.exit_code) for s in adopted.seen()] == [(pid, None)]
    adopted.signal("shop", "web", "SIGTERM")
    wait_for(lambda: adopted.seen()[0].pid is None, 10, "the end")
    assert adopted.seen()[0].exit_code == 5


def test_it_ends_while_no_daemon_lives_and_the_exit_code_is_known_all_the_same(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", ["/bin/sh", "-c", "sleep 0.3; exit 9"]))["web"]
    status, answer = host.starter("start", "shop", "web", spec.revision["revision"], spec.seal, "65536")
    assert (status, list(answer)) == (0, ["pid"])
    wait_for(lambda: processes.start_ticks(answer["pid"]) is None, 10, "the end")
    wait_for(lambda: another_daemon(host).seen()[0].exit_code == 9, 2, "the exit code")


def test_with_its_monitor_killed_it_lives_on_and_its_end_is_seen_without_a_code(host: World) -> None:
    pid = host.runtime.start(host.app("shop", host.service("shop", "web", FOREVER))["web"])
    host.says("shop", "web", "up")
    handle = host.runtime.end_handle("shop", "web")
    conmon = meta_of(host)["conmon_pid"]
    assert conmon is not None
    assert handle is not None
    os.kill(conmon, signal.SIGKILL)
    wait_for(lambda: processes.start_ticks(conmon) is None, 5, "the monitor's end")
    os.close(handle)
    assert host.seen("shop", "web").pid == pid
    handle = host.runtime.end_handle("shop", "web")  # now the container's own
    assert handle is not None
    os.close(handle)
    os.kill(pid, signal.SIGKILL)
    seen = host.ended("shop", "web")
    assert (seen.exit_code, seen.ended_at) == (None, None)


def test_a_pid_that_belongs_to_somebody_else_by_now_is_not_taken_for_the_container(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", ["/bin/echo"]))["web"]
    host.runtime.start(spec)
    host.ended("shop", "web")
    stranger = subprocess.Popen(["sleep", "100"])
    try:
        records.write_meta(str(host.layout.container("shop", "web")), {**meta_of(host), "pid": stranger.pid})
        assert host.seen("shop", "web").pid is None
        host.runtime.signal("shop", "web", "SIGKILL")
        host.runtime.remove("shop", "web")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_after_a_reboot_nothing_runs_and_what_is_left_of_the_run_directory_is_cleared(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER))["web"]
    host.runtime.start(spec)
    folder = host.layout.container("shop", "web")
    stale = {**meta_of(host), "boot_id": "00000000-0000-0000-0000-000000000000"}
    host.runtime.remove("shop", "web")
    folder.mkdir()
    records.write_meta(str(folder), stale)  # type: ignore[arg-type]
    (folder / "network.json").write_text("{}")
    (host.layout.netns / "shop.web").write_text("")
    (host.layout.run / "boot_id").write_text(stale["boot_id"])  # type: ignore[arg-type]
    assert host.runtime.seen() == []
    host.runtime.setup()
    assert list(host.layout.containers.iterdir()) == []
    assert list(host.layout.netns.iterdir()) == []
    assert host.runtime.start(spec) > 0


def test_a_starter_killed_at_any_moment_leaves_nothing_that_the_next_start_cannot_take_over(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER))["web"]
    command = host.runtime.starter_command("start", "shop", "web", spec.revision["revision"], spec.seal, "65536")
    for delay in (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1):
        starter = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(delay)
        starter.kill()
        starter.wait()
    pid = host.runtime.start(spec)
    assert host.seen("shop", "web").pid == pid
    for group in host.runtime.hierarchies.mounts():
        procs = f"{group}{host.runtime.group('shop', 'web')}/cgroup.procs"
        if os.path.exists(procs):
            with open(procs, encoding="ascii") as file:
                assert file.read().split()[0] == str(pid)


def test_two_starters_of_one_container_agree_on_one(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER))["web"]
    command = host.runtime.starter_command("start", "shop", "web", spec.revision["revision"], spec.seal, "65536")
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({process.communicate(timeout=30)[0] for process in both}) == 1
    assert len(host.runtime.seen()) == 1


def test_the_starters_failure_is_one_machine_readable_line_with_its_status(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER))["web"]
    status, answer = host.starter("start", "shop", "web", spec.revision["revision"], "0" * 64, "65536")
    assert status == Exit.TRUST
    assert answer["failed"]["code"] == "E0710"
    assert answer["failed"]["element"] == "shop/web"
    assert "sealed files were altered" in answer["failed"]["sentence"]
    assert host.starter("remove", "shop", "web") == (0, {"removed": True})


@pytest.mark.parametrize("words", [("start", "../x", "web", "0" * 64, "0" * 64, "1"), ("remove", "shop", "Web")])
def test_the_starter_takes_nothing_that_is_not_a_name(host: World, words: tuple[str, ...]) -> None:
    status, answer = host.starter(*words)
    assert (status, answer["failed"]["code"]) == (Exit.USAGE, "E0720")
