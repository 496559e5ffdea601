"""Two releases that differ by limits alone: prepare says so, and the container of the first becomes the second's."""

from __future__ import annotations

import shutil

from container_support import output, runtime, spec
from oci_support import busybox_image
from prepare_support import MIB, Site

from edge_daemon.keeper.retune import limits_only

SAY = ["/bin/sh", "-c", "i=0; while :; do cat /etc/hosts /etc/site.conf; echo round $i; i=$((i+1)); sleep 0.1; done"]
CONFIG = {"FILE": {"service": "web", "type": "text", "file": "/etc/site.conf"}}


def release(host: Site, version: str, value: str = "north", **limits: int) -> dict[str, object]:
    asked = {"memory_bytes": 32 * MIB, "cpu_millis": 500, "pids": 16, "nofile": 256} | limits
    service = host.service(busybox_image(None), entrypoint=SAY, limits=asked)
    return host.release(service, version=version, config=CONFIG) | {"config": {"FILE": value}}


def test_limits_change_live_and_the_container_outlives_the_revision_it_was_made_of(host: Site) -> None:
    assert host.prepare(host.document(release(host, "1.0.0"))).sealed
    first, old_folder = spec(host), host.revision_folder()
    assert host.prepare(host.document(release(host, "1.1.0", memory_bytes=48 * MIB, pids=8))).sealed
    second = spec(host)
    assert limits_only(first.revision, second.revision) == {"web": second.service["limits"]}
    with runtime(host) as made:
        pid = made.start(first)
        output(host, until="round 1")

        assert made.retune(second) == pid
        shutil.rmtree(old_folder)  # as the collector does once nothing names it

        assert made.limits("cam", "web").memory_bytes == 48 * MIB
        said = output(host, until="round").count("round")
        last = output(host, until=f"round {said + 2}").rpartition(f"round {said}")[2]
        assert ("localhost" in last, "north" in last) == (True, True)


def test_a_configuration_value_or_open_files_are_more_than_live_limits(host: Site) -> None:
    host.prepare(host.document(release(host, "1.0.0")))
    first = host.revision()
    host.prepare(host.document(release(host, "1.1.0", "south")))
    assert limits_only(first, host.revision()) is None
    host.prepare(host.document(release(host, "1.2.0", nofile=300)))
    assert limits_only(first, host.revision()) is None
    host.prepare(host.document(release(host, "1.3.0", cpu_millis=250)))
    assert limits_only(first, host.revision()) is not None
