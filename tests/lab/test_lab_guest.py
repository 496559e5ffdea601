"""The guests are what the product's own lab tests take them for."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_channel import AgentRefusedError, Job
from edge_host import SYSTEMD, EdgeHost
from snapshots import StartEdgeHost

SCRIPTS = "/mnt/source/tests/lab/guest_scripts"
MODULES = (
    *("nf_tables", "nft_chain_nat", "nft_ct", "nft_compat", "xt_MASQUERADE", "xt_comment", "iptable_nat"),
    *("bridge", "br_netfilter", "veth", "overlay"),
)
IMPORTS = """
import cryptography.hazmat.bindings._rust, paho.mqtt.client, pydantic, tuf.ngclient
print(pydantic.VERSION)
"""
NEW_BRIDGE = """
ip link add br0 type bridge
ip link add veth0 type veth peer name veth1
ip link set veth0 master br0
"""
TOOLS = "test -x /usr/lib/cni/bridge && conmon --version && sqlite3 --version && command -v mosquitto_pub"


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Look ten times a second; the time-out is a failure that says what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.1)


def rows_written(job: Job) -> int:
    """The last number that the writer said, whole lines only."""
    lines = job.stdout.decode().split("\n")[:-1]
    return int(lines[-1]) if lines else 0


def test_a_guest_has_its_architecture_pure_cgroup_v2_and_the_right_time(edge_host: EdgeHost, arch: str) -> None:
    assert edge_host.run("uname -m").stdout.strip() == {"amd64": "x86_64", "arm64": "aarch64"}[arch]
    assert edge_host.run("stat -f -c %T /sys/fs/cgroup").stdout.strip() == "cgroup2fs"
    assert edge_host.run("grep -c ' cgroup ' /proc/mounts").stdout.strip() == "0"
    controllers = edge_host.run("cat /sys/fs/cgroup/cgroup.subtree_control").stdout.split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(controllers)
    assert abs(float(edge_host.run("date +%s.%N").stdout) - time.time()) < 3


def test_a_guest_has_the_modules_and_tools_of_container_networks(edge_host: EdgeHost) -> None:
    edge_host.run(["modprobe", "-a", *MODULES]).check()
    edge_host.run("iptables -t nat -A POSTROUTING -s 10.88.0.0/16 -m comment --comment lab -j MASQUERADE").check()
    assert "ip saddr 10.88.0.0/16" in edge_host.run("nft list ruleset").check().stdout
    edge_host.run(f"set -e; {NEW_BRIDGE}").check()
    edge_host.run(TOOLS).check()


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_runtime_enforces_memory_cpu_and_pids(edge_host: EdgeHost, runtime: str) -> None:
    report = json.loads(edge_host.run(["python3", f"{SCRIPTS}/limits_probe.py", runtime]).check().stdout)

    assert report["hello"] == "hello\n"
    memory = report["memory"]["out"].split("\n")
    assert memory[:2] == ["status 137", str(32 * 2**20)]
    assert "oom_kill 1" in memory
    cpu = dict(line.split() for line in report["cpu"]["out"].splitlines() if line.count(" ") == 1)
    assert cpu["20000"] == "100000"
    assert int(cpu["nr_throttled"]) > 10
    assert 200_000 < int(cpu["usage_usec"]) < 1_600_000, "two seconds at a fifth of a processor; emulated clocks wander"
    assert report["pids"]["out"] == "forked 7\nerror 11\nlimit 8\n"


def test_the_wheels_of_the_edge_extra_import(edge_host: EdgeHost) -> None:
    done = edge_host.run(["python3", "-c", IMPORTS], env={"PYTHONPATH": "/mnt/wheels"}).check()
    assert done.stdout.startswith("2.")


def test_files_cross_both_ways(edge_host: EdgeHost) -> None:
    content = bytes(range(256)) * 4096
    edge_host.put(content, "/root/file", mode=0o600)
    assert edge_host.get("/root/file") == content
    assert edge_host.run("stat -c %a /root/file").stdout == "600\n"
    (edge_host.files.folder / "exchange" / "note").write_text("by share")
    assert edge_host.run("cat /mnt/exchange/note").check().stdout == "by share"
    assert edge_host.run("touch /mnt/exchange/mine").status != 0


def test_commands_get_input_time_out_and_may_be_missing(edge_host: EdgeHost) -> None:
    assert edge_host.run("cat; exit 3", stdin=b"in").stdout == "in"
    assert edge_host.run("cat; exit 3", stdin=b"in").status == 3
    assert edge_host.run("sleep 60", timeout=1).status == -9
    with pytest.raises(AgentRefusedError, match="no-such-program"):
        edge_host.run(["no-such-program"])


def rows_left(host: EdgeHost, database: str) -> dict[str, Any]:
    """What the counter says of a database in the guest."""
    left = host.run(["python3", f"{SCRIPTS}/sqlite_rows.py", "count", database]).check().stdout
    return dict(json.loads(left))


def test_a_power_cut_keeps_full_rows_and_loses_others(edge_host: EdgeHost) -> None:
    full = edge_host.submit(["python3", f"{SCRIPTS}/sqlite_rows.py", "write", "/var/lib/full.db", "FULL"])
    wait_until(lambda: rows_written(full) >= 20, seconds=60, what="20 rows with FULL")
    normal = edge_host.submit(["python3", f"{SCRIPTS}/sqlite_rows.py", "write", "/var/lib/normal.db", "NORMAL"])
    wait_until(lambda: rows_written(normal) >= 20, seconds=60, what="20 rows with NORMAL")
    edge_host.power_cut()
    edge_host.start().mount("source")

    left = rows_left(edge_host, "/var/lib/full.db")
    assert left["check"] == "ok"
    assert left["rows"] >= rows_written(full)
    left = rows_left(edge_host, "/var/lib/normal.db")
    assert left["check"] == "ok"
    assert left["rows"] < rows_written(normal), "a cut that loses nothing proves nothing"


def test_an_offline_reboot_keeps_files_forgets_the_time_and_starts_what_was_left(edge_host: EdgeHost) -> None:
    before = edge_host.run("cat /proc/sys/kernel/random/boot_id").stdout
    edge_host.run("echo kept > /root/file; mkdir /etc/lab-init.d").check()
    edge_host.put(b"#!/bin/sh\necho started > /run/started\n", "/etc/lab-init.d/test", mode=0o755)
    edge_host.link(up=False)

    edge_host.reboot(clock="1970-01-01T00:00:00")

    assert edge_host.run("cat /proc/sys/kernel/random/boot_id").stdout != before
    assert edge_host.run("cat /root/file").stdout == "kept\n"
    assert edge_host.run("date +%Y").stdout == "1970\n"
    assert edge_host.run("sleep 1; cat /run/started").stdout == "started\n"
    assert edge_host.run("cat /sys/class/net/e*/carrier").stdout == "0\n"
    edge_host.link(up=True)
    assert edge_host.run("sleep 1; cat /sys/class/net/e*/carrier").stdout == "1\n"


def test_a_guest_can_run_systemd(start_edge_host: StartEdgeHost) -> None:
    host = start_edge_host(init=SYSTEMD)
    assert host.run("cat /proc/1/comm").stdout == "systemd\n"
    assert " 10.0.2.15/24 " in host.run("ip -4 -oneline address").stdout
    unit = host.run("systemd-run --wait --pipe -p MemoryMax=64M cat /proc/self/cgroup").check()
    assert unit.stdout.startswith("0::/system.slice/run-")
