"""The product in a guest with pure cgroup v2: a signed app runs under limits, and again off-line after a reboot.

On both architectures, with crun and with runc.
"""

import json
from typing import Any

import pytest
from edge_host import EdgeHost
from lab_product import START_S, deploy, kernel_limits, page, run_daemon, starts
from product_center import GUEST_PORTS, Center, wait_for
from snapshots import StartEdgeHost


@pytest.mark.timeout(900)
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_signed_app_runs_under_limits_and_again_after_a_reboot_off_line(
    start_edge_host: StartEdgeHost, center: Center, arch: str, runtime: str
) -> None:
    name = f"{arch}-{runtime}"
    host = start_edge_host(forwards=dict(zip(GUEST_PORTS, (center.broker_port, center.https_port), strict=True)))
    try:
        check_limits(host, deploy(host, center, name, runtime))
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


def check_limits(host: EdgeHost, row: dict[str, Any]) -> None:
    """The kernel's own files, and that what was reported is the same."""
    kernel = kernel_limits(host)
    assert kernel == {"memory.max": str(16 << 20), "memory.swap.max": "0", "cpu.max": "25000 100000", "pids.max": "32"}
    limits = row["reported"]["apps"][0]["services"][0]["limits"]
    assert limits == {"memory_bytes": 16 << 20, "swap_bytes": 0, "cpu_millis": 250, "pids": 32}, json.dumps(limits)
