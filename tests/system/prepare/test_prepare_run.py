"""What prepare seals is run by the real runtime, and probed from inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_support import output, runtime, spec
from oci_support import Layer, busybox_image, folder, tar, text
from prepare_support import MIB, Site

from edge_daemon.keeper.runtime.host import HostRuntime

PROBE = r"""
echo "== id"; id -u; id -g; id -G
echo "== status"; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
echo "== calls"
unshare -r true 2>&1; unshare -m true 2>&1; mount -t tmpfs none /tmp 2>&1; chroot / true 2>&1
mknod /tmp/x b 8 0 2>&1
echo "== writes"
touch /x 2>&1; touch /bin/x 2>&1
echo 1 > /proc/sys/kernel/core_pattern; touch /sys/x 2>&1; touch /tmp/ok && echo tmp-ok
head -c 1 /proc/kcore | head -c 0; ls /sys/firmware | head -1; ls /sys/fs/cgroup
echo "== env"; env
echo "== pwd"; pwd; hostname; cat /etc/hosts
echo "== file"; cat /etc/site.conf; ls -ln /etc/site.conf
echo "== end"
"""


def section(said: str, name: str) -> str:
    return said.split(f"== {name}\n")[1].split("\n== ", maxsplit=1)[0]


@pytest.fixture
def probed(host: Site) -> Iterator[tuple[Site, str, HostRuntime]]:
    image = busybox_image(
        {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["sleep 60"], "User": "web", "Env": ["A=image", "B=image"]}
    )
    service = host.service(
        image,
        command=[PROBE + "sleep 60"],
        environment={"B": "release", "C": "release"},
        working_dir="/etc",
        limits={"memory_bytes": 32 * MIB, "cpu_millis": 250, "pids": 16, "nofile": 128},
    )
    app = host.release(
        service,
        config={
            "SITE": {"service": "web", "env": "C", "default": "default"},
            "FILE": {"service": "web", "type": "text", "file": "/etc/site.conf"},
        },
    )
    app["config"] = {"SITE": "north", "FILE": "secret=1\n"}
    assert host.prepare(host.document(app)).sealed["generation"] == 1
    with runtime(host) as made:
        made.start(spec(host))
        yield host, output(host), made


def test_a_sealed_revision_runs_confined_as_the_default_profile_says(probed: tuple[Site, str, HostRuntime]) -> None:
    _, said, made = probed
    assert section(said, "id").split("\n") == ["101", "102", "102 103"]
    status = section(said, "status")
    for one in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{one}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    calls = section(said, "calls").split("\n")
    assert len(calls) == 5
    assert all("not permitted" in call or "permission denied" in call for call in calls), calls
    writes = section(said, "writes")
    assert writes.count("Read-only file system") >= 3, writes
    assert "tmp-ok" in writes
    assert "core_pattern" in writes  # it said that it could not
    env = section(said, "env").split("\n")
    assert {"A=image", "B=release", "C=north"} <= set(env)
    assert section(said, "pwd").startswith("/etc\nweb\n127.0.0.1\tlocalhost")
    assert "secret=1" in section(said, "file")
    assert "-r--------    1 101" in section(said, "file")
    limits = made.limits("cam", "web")
    assert (limits.memory_bytes, limits.swap_bytes, limits.cpu_millis, limits.pids) == (32 * MIB, 0, 250, 16)


def test_a_second_layer_hides_and_replaces_what_lies_below_it(host: Site) -> None:
    below = Layer(
        tar([folder("data"), text("data/old", "old"), text("data/kept", "kept"), folder("opq"), text("opq/old")])
    )
    above = Layer(tar([text("data/.wh.old"), text("opq/.wh..wh..opq"), text("opq/new", "new")]), "zstd")
    command = ["/bin/sh", "-c", "ls /data; echo; ls /opq; echo == end; sleep 60"]
    image = busybox_image({"Cmd": command}, below, above)
    assert host.run(host.service(image)).sealed
    with runtime(host) as made:
        made.start(spec(host))
        assert output(host).split("\n== end")[0].split() == ["kept", "new"]


def test_services_of_one_app_reach_each_other_by_name(host: Site) -> None:
    page = Layer(tar([folder("www"), text("www/index.html", "hello from a\n")]), "none")
    a = host.service(
        busybox_image({"Cmd": ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]}, page),
        "a",
        privileges={},
        aliases=["front"],
    )
    asks = "until wget -qO- http://front/index.html; do sleep 0.2; done; echo == end; sleep 60"
    b = host.service(busybox_image({"Cmd": ["/bin/sh", "-c", asks]}), "b", privileges={}, depends_on={"a": "started"})
    assert host.run(a, b).sealed
    assert host.revision()["start_order"] == ["a", "b"]
    with runtime(host) as made:
        made.start(spec(host, "a"))
        made.start(spec(host, "b"))
        assert "hello from a" in output(host, "b")


def test_every_file_of_a_revision_has_the_hash_that_its_index_leads_to(host: Site) -> None:
    assert host.run(host.service(busybox_image())).sealed
    folder_ = host.revision_folder()
    data = (folder_ / "revision.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == host.index()["apps"]["cam"]["seal"]
    files = json.loads(data)["files"]
    found = {str(p.relative_to(folder_)) for p in Path(folder_).rglob("*") if p.is_file()}
    assert found == {*files, "revision.json"}
    assert all(hashlib.sha256((folder_ / p).read_bytes()).hexdigest() == h for p, h in files.items())
