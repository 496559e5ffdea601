"""The metadata service, the host and the broker on it, from inside a real container."""

from __future__ import annotations

import socket

import pytest
from runtime_support import Neighbour, World, fetch, listening

METADATA = "169.254.169.254"


def test_threat_54_metadata_service_host_and_broker_are_out_of_reach(host: World) -> None:
    page = host.base / "index.html"
    page.write_text("secret credentials\n")
    with Neighbour() as lan, listening("0.0.0.0", 8883) as broker:
        lan.run("ip", "addr", "add", f"{METADATA}/32", "dev", "lo")
        with lan.serving(METADATA, 80, page):
            assert b"secret" in fetch(METADATA, 80)  # the host itself may
            urls = [METADATA, f"{lan.HOST}:8883", "10.88.3.1:8883", "127.0.0.1:8883"]
            one = '{ timeout 2 wget -qO- http://$u/index.html && echo "reached $u"; } 2>/dev/null'
            ask = f'for u in "$@"; do {one} & done; wait; echo done'
            host.runtime.start(host.app("evil", host.service("evil", "w", ["/bin/sh", "-c", ask, "sh", *urls]))["w"])
            assert host.says("evil", "w", "done").splitlines() == ["done"]
        broker.setblocking(False)
        with pytest.raises(BlockingIOError):
            broker.accept()


def test_threat_54_abstract_sockets_of_the_host_are_not_seen(host: World) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0roadstead-test")
        server.listen()
        spec = host.app("evil", host.service("evil", "w", ["/bin/cat", "/proc/net/unix"]))["w"]
        host.runtime.start(spec)
        host.ended("evil", "w")
    assert "roadstead-test" not in host.log("evil", "w")


def test_threat_54_nothing_of_the_hosts_identity_is_inside(host: World) -> None:
    identity = host.layout.identity
    identity.mkdir()
    (identity / "device.key").write_text("secret")
    look = f"cat {identity}/device.key; cat /proc/1/root{identity}/device.key; cat /proc/mounts; echo done"
    host.runtime.start(host.app("evil", host.service("evil", "w", ["/bin/sh", "-c", look]))["w"])
    assert "secret" not in host.says("evil", "w", "done")
