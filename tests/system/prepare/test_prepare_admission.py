"""What the host cannot promise is refused before anything is fetched, written or forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from oci_support import busybox_image
from prepare_support import MIB, Site

from edge_daemon.keeper.runtime import groups, hierarchies


@pytest.fixture
def group(host: Site) -> Iterator[str]:
    """The containers' parent group with a limit of its own: a small host inside this one. Its memory folder."""
    found = hierarchies.detect()
    groups.make(found, host.cgroup_parent, leaf=False)
    folder = found.folder("memory", host.cgroup_parent)
    assert folder is not None
    groups.write(folder, "memory.max" if found.is_v2("memory") else "memory.limit_in_bytes", str(64 * MIB))
    try:
        yield folder
    finally:
        groups.remove(found, host.cgroup_parent)


@pytest.mark.usefixtures("group")
def test_more_memory_than_the_host_gives_is_refused_with_names_and_nothing_has_changed(host: Site) -> None:
    image = busybox_image(None)
    assert host.run(host.service(image)).sealed["generation"] == 1
    before = host.layers()
    shop = host.release(host.service(busybox_image({"Env": ["A=other"]}), "till"), app="shop")
    cam = host.release(host.service(image), host.service(image, "db"), version="2.0.0")

    refused = host.prepare(host.document(cam, shop)).refused

    assert refused["reason"] == (
        "needs 32 MiB more memory than this host gives to apps (64 MiB): cam asks 64 MiB, shop 32 MiB"
    )
    assert (refused["code"], refused["retry"]) == ("E0428", False)
    assert host.layers() == before
    assert not host.layout.generation(2).exists()
    assert host.run(host.service(image), version="3.0.0").sealed["generation"] == 3


def test_the_hosts_own_reserve_is_the_owners_to_set(host: Site) -> None:
    host.layout.policy.write_text(json.dumps({"network": ["app"], "reserve_memory_bytes": 1 << 50}))

    refused = host.run(host.service(busybox_image(None))).refused

    assert "needs 32 MiB more memory than this host gives to apps (0 KiB): cam asks 32 MiB" in refused["sentence"]


def test_more_cores_than_there_are_are_refused(host: Site) -> None:
    limits = {"memory_bytes": 32 * MIB, "cpu_millis": 1_000_000, "pids": 16, "nofile": 256}

    refused = host.run(host.service(busybox_image(None), limits=limits)).refused

    assert "cam/web asks 1000" in refused["reason"]
    assert refused["element"] == "cam.web"
