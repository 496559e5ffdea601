"""A host with pure cgroup v2 heals itself: limits change live, and a bad release goes back with no server in reach."""

from typing import Any

import pytest
from edge_host import EdgeHost
from lab_product import DAEMON, START_S, deploy, kernel_limits, page, running, said
from product_center import COMPOSE, GUEST_PORTS, Center, wait_for
from snapshots import StartEdgeHost

MORE_MEMORY = COMPOSE.replace("mem_limit: 16m", "mem_limit: 24m")
# A whole processor: an emulated one must fill the memory within the window.
HOG = COMPOSE.replace("    ports:", '    entrypoint: ["/bin/busybox", "tail", "/dev/zero"]\n    ports:').replace(
    "0.25", "1.0"
)
RUNTIMES = {"amd64": "runc", "arm64": "crun"}


@pytest.mark.timeout(900)
def test_limits_change_live_and_a_release_that_eats_its_memory_is_taken_back_off_line(
    start_edge_host: StartEdgeHost, center: Center, arch: str
) -> None:
    name = f"{arch}-heals"
    host = start_edge_host(forwards=dict(zip(GUEST_PORTS, (center.broker_port, center.https_port), strict=True)))
    try:
        before = service(deploy(host, center, name, RUNTIMES[arch]))

        center.release("1.0.1", MORE_MEMORY)
        center.fleet("apply", "--yes")
        after = service(wait_for("more memory", lambda: running(center, name, "1.0.1"), START_S))
        assert kernel_limits(host)["memory.max"] == str(24 << 20)
        assert (after["pid"], after["started_at"]) == (before["pid"], before["started_at"])
        wait_for("its window to end", lambda: told(host, "app.good") >= 2, 60)

        center.release("1.0.2", HOG)
        center.fleet("apply", "--yes")
        wait_for("the bad release to come", lambda: told(host, "generation.accepted") >= 3, START_S)
        host.link(up=False)
        wait_for("its return", lambda: app(host).get("release") == "1.0.1" and page(host), START_S)
        assert page(host) == f"hello from {name}\n"
        assert "killed for memory" in app(host)["why"]
        assert kernel_limits(host)["memory.max"] == str(24 << 20)
        assert [e["kind"] for e in events(host) if e["kind"] in STORY][-3:] == list(STORY)
    except Exception:
        for command in ("tail -50 /root/daemon.log", f"{DAEMON} events", f"{DAEMON} status"):
            print(host.run(command).stdout[-6000:])
        raise


STORY = ("container.oom", "app.quarantined", "app.returned")


def service(row: dict[str, Any]) -> dict[str, Any]:
    return dict(row["reported"]["apps"][0]["services"][0])


def app(host: EdgeHost) -> dict[str, Any]:
    return dict(said(host, "status")["reported"]["apps"][0])


def events(host: EdgeHost) -> list[dict[str, Any]]:
    return list(said(host, "events")["events"])


def told(host: EdgeHost, kind: str) -> int:
    return sum(event["kind"] == kind for event in events(host))
