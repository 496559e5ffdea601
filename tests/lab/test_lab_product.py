"""The product in a guest with pure cgroup v2: a signed app runs under limits, and again off-line after a reboot.

On both architectures, with crun and with runc.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from edge_host import EdgeHost
from product_center import GUEST_PORTS, Center, wait_for
from snapshots import StartEdgeHost

PLATFORMS = {"amd64": "linux/amd64", "arm64": "linux/arm64"}
PTH = "/usr/local/lib/python3.11/dist-packages/roadstead.pth"
DAEMON = "python3 -I -OO -m edge_daemon.main"
GROUP = "/sys/fs/cgroup/roadstead/apps/web/web"
START_S = 240.0  # an emulated processor is about 13 times slower


@pytest.fixture
def center(start_edge_host: StartEdgeHost, arch: str) -> Iterator[Center]:
    """The central side, its image made of the guest's own busybox."""
    donor = start_edge_host()
    busybox = donor.get("/usr/bin/busybox")
    donor.power_cut()
    with Center({PLATFORMS[arch]: busybox}) as made:
        yield made
        print(f"broker:\n{made.log('broker')}\nserver:\n{made.log('server')}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_signed_app_runs_under_limits_and_again_after_a_reboot_off_line(
    start_edge_host: StartEdgeHost, center: Center, arch: str, runtime: str
) -> None:
    name = f"{arch}-{runtime}"
    host = start_edge_host(forwards=dict(zip(GUEST_PORTS, (center.broker_port, center.https_port), strict=True)))
    install(host)
    host.put(center.token(name).encode(), "/root/token", mode=0o600)
    host.run(f"{DAEMON} enroll --token-file /root/token --wait", timeout=START_S).check()
    run_daemon(host, runtime)
    wait_for("the host to connect", lambda: center.device(name).get("online"), START_S)
    center.fleet("apply", "--yes")
    try:
        row = wait_for("the app to run", lambda: running(center, name), START_S)
        check_limits(host, row)
        wait_for("the app to answer", lambda: page(host) == f"hello from {name}\n", 60)
        # What has not been flushed is lost in a power cut; a reboot in order must find the app's last good revision.
        host.link(up=False)
        host.reboot(clock="1970-01-01T00:00:00").mount()
        run_daemon(host, runtime)
        wait_for("the app to answer again, off-line, in 1970", lambda: page(host) == f"hello from {name}\n", START_S)
        assert host.run("date +%Y").stdout == "1970\n"
        host.link(up=True)
        wait_for("the host to connect again", lambda: starts(center, name) >= 2, START_S)
        seqs = sorted(e["seq"] for e in center.events(name))
        assert seqs == list(range(1, len(seqs) + 1)), "an event is missing, or there twice"
    except (AssertionError, TimeoutError):
        print(host.run("cat /root/daemon.log; ls -R /run/roadstead | head -50").stdout[-6000:])
        raise


def install(host: EdgeHost) -> None:
    """The source tree and the wheels of the extra `edge`, from the shares."""
    host.run(["mkdir", "-p", str(Path(PTH).parent)]).check()
    host.put(b"/mnt/wheels\n/mnt/source\n", PTH)


def run_daemon(host: EdgeHost, runtime: str) -> None:
    """As an init system would start it."""
    host.run(f"setsid {DAEMON} run --runtime {runtime} >>/root/daemon.log 2>&1 </dev/null &").check()


def running(center: Center, name: str) -> dict[str, Any]:
    """The device's row once it is well and runs the app, else nothing."""
    row = center.device(name)
    apps = (row.get("reported") or {}).get("apps") or [{}]
    return row if row.get("state") == "ok" and apps[0].get("release") == "1.0.0" else {}


def check_limits(host: EdgeHost, row: dict[str, Any]) -> None:
    """The kernel's own files, and that what was reported is the same."""
    files = ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
    kernel = dict(zip(files, host.run(f"cd {GROUP} && cat {' '.join(files)}").check().stdout.splitlines(), strict=True))
    assert kernel == {"memory.max": str(16 << 20), "memory.swap.max": "0", "cpu.max": "25000 100000", "pids.max": "32"}
    limits = row["reported"]["apps"][0]["services"][0]["limits"]
    assert limits == {"memory_bytes": 16 << 20, "swap_bytes": 0, "cpu_millis": 250, "pids": 32}, json.dumps(limits)


def page(host: EdgeHost) -> str:
    """What the published port answers, asked from the guest itself through its own address."""
    return host.run("timeout 5 busybox wget -q -O - http://10.0.2.15:8080/").stdout


def starts(center: Center, name: str) -> int:
    """How many times the daemon has said that it started."""
    return sum(e["kind"] == "daemon.started" for e in center.events(name))
