"""Under systemd the containers stand in a slice that systemd has handed over, and leaves alone."""

from pathlib import Path

import pytest
from edge_host import SYSTEMD, EdgeHost
from lab_product import DAEMON, START_S, enrol, page, running, starts
from product_center import GUEST_PORTS, Center, wait_for
from snapshots import StartEdgeHost

UNIT = Path(__file__).parents[2] / "packaging" / "edge-daemon.service"
SLICE = "/roadstead.slice/roadstead-apps.slice"
GROUP = f"/sys/fs/cgroup{SLICE}/roadstead-containers.service/apps/web/web"
FILES = "cgroup.procs memory.max memory.swap.max cpu.max pids.max"


@pytest.mark.timeout(900)
def test_a_reload_and_a_restart_leave_containers_and_limits_as_they_are(
    start_edge_host: StartEdgeHost, center: Center, arch: str
) -> None:
    name = f"{arch}-systemd"
    forwards = dict(zip(GUEST_PORTS, (center.broker_port, center.https_port), strict=True))
    host = start_edge_host(forwards=forwards, init=SYSTEMD)
    enrol(host, center, name)
    unit = UNIT.read_text().replace("/usr/bin/env edge-daemon run", f"/usr/bin/{DAEMON} run")
    host.put(unit.encode(), "/etc/systemd/system/edge-daemon.service")
    host.run("systemctl daemon-reload && systemctl start edge-daemon.service", timeout=START_S).check()
    wait_for("the host to connect", lambda: center.device(name).get("online"), START_S)
    center.fleet("apply", "--yes")
    try:
        wait_for("the app to run", lambda: running(center, name), START_S)
        before = kernel(host)
        assert before[1:] == [str(16 << 20), "0", "25000 100000", "32"]
        size = host.run("stat -f -c '%T %b %S' /var/lib/roadstead/volumes/web/data").check().stdout.split()
        assert size[0] == "ext2/ext3"
        assert 48 << 20 < int(size[1]) * int(size[2]) <= 64 << 20  # the volume's own file system, of its quota
        tree = host.run(f"systemd-cgls --no-pager {SLICE}").check().stdout
        assert "roadstead-containers.service" in tree
        assert "httpd" in tree

        host.run("systemctl daemon-reload").check()
        assert kernel(host) == before
        host.run("systemctl restart edge-daemon.service", timeout=START_S).check()
        wait_for("the daemon to start again", lambda: starts(center, name) >= 2, START_S)
        host.run("systemctl daemon-reload").check()
        assert kernel(host) == before
        wait_for("the app to answer", lambda: page(host) == f"hello from {name}\n", 60)
        events = [e["kind"] for e in center.events(name)]
        assert events.count("container.started") == 1
        assert not [kind for kind in events if kind in ("container.stopped", "container.ended")]
    except (AssertionError, TimeoutError):
        said = "journalctl --no-pager -u edge-daemon | tail -40; systemctl status roadstead-containers; systemd-cgls"
        print(host.run(said).stdout[-8000:])
        raise


def kernel(host: EdgeHost) -> list[str]:
    """The container's processes and limits in the kernel's own files."""
    return host.run(f"cd {GROUP} && cat {FILES}").check().stdout.splitlines()
