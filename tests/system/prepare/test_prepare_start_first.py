"""What prepare seals for a start-first app runs beside what runs already, and takes over what that publishes."""

from __future__ import annotations

from typing import Any

from container_support import runtime, spec
from oci_support import busybox_image
from prepare_support import Site
from runtime_support import fetch, wait_for

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.slots import A, B

PORT = 8091


def release(host: Site, version: str) -> dict[str, Any]:
    """One that serves its own version as a page."""
    page = f"mkdir /tmp/www; echo {version} > /tmp/www/index.html; exec /bin/busybox httpd -f -p 80 -h /tmp/www"
    service = host.service(
        busybox_image(None),
        entrypoint=["/bin/sh", "-c", page],
        ports=[{"host_port": PORT, "container_port": 80}],
        privileges={"network": "app"},
        tmpfs=[{"target": "/tmp"}],
    )
    return host.release(service, version=version, strategy="start-first")


def prepared(host: Site, app: dict[str, Any], *running: str) -> StartSpec:
    """Made ready in the next generation, beside what runs and what is kept."""
    words = [f"cam/{revision}" for revision in running]
    more = ["--keep", *words, "--running", words[0]] if words else []
    assert host.prepare(host.document(app), *more).sealed
    return spec(host, host.revision()["services"][0]["name"])


def served(address: str = "127.0.0.1", port: int = PORT) -> str:
    """The version that answers, at the published port if nothing else is said, or ""."""
    try:
        return fetch(address, port).decode().split("\r\n\r\n")[-1].strip()
    except OSError:
        return ""


def test_the_second_revision_stands_in_the_other_slot_and_takes_over_in_one_step(host: Site) -> None:
    first = prepared(host, release(host, "1.0.0"))
    running = first.revision["revision"]
    newer = release(host, "1.1.0")
    second = prepared(host, newer, running)

    assert (running[-1], second.revision["revision"][-1]) == (A, B)
    assert [(s.service["name"], s.service["address"]) for s in (first, second)] == [
        ("web", "10.88.1.2"), ("web.b", "10.88.1.130"),
    ]  # fmt: skip
    again = prepared(host, newer, second.revision["revision"], running)
    assert again.revision == second.revision, "the same release in a later generation is the same revision"
    with runtime(host) as made:
        pid = made.start(first)
        wait_for(lambda: served() == "1.0.0", 10, "the first to answer")
        made.start(second)
        wait_for(lambda: served(second.service["address"], 80) == "1.1.0", 10, "the second to answer")
        assert served() == "1.0.0"

        made.hand_over("cam", "web.b")

        assert served() == "1.1.0"
        made.remove("cam", "web")
        assert served() == "1.1.0"
        assert pid not in {one.pid for one in made.seen()}
