"""What the first process of a container may become: nothing more than it is."""

from __future__ import annotations

import pytest
from runtime_support import UID_BASE, World, shift


def status_of(host: World, user: int) -> dict[str, str]:
    spec = host.app("shop", host.service("shop", "web", ["/bin/cat", "/proc/self/status"], user=user))["web"]
    host.runtime.start(spec)
    assert host.ended("shop", "web").exit_code == 0
    return dict(line.split(":", 1) for line in host.log("shop", "web").splitlines())


@pytest.mark.parametrize("user", [0, 1000])
def test_threat_50_a_container_has_no_capability_and_can_gain_none(host: World, user: int) -> None:
    status = status_of(host, user)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert status["Uid"].split() == [str(user)] * 4


def test_threat_50_a_setuid_program_gives_nothing(host: World) -> None:
    layer = host.layout.layers / "suid"
    (layer / "bin").mkdir(parents=True)
    (layer / "bin" / "busybox-suid").write_bytes((host.layout.layers / "base" / "bin" / "busybox").read_bytes())
    shift(layer)
    (layer / "bin" / "busybox-suid").chmod(0o4755)
    args = ["/bin/busybox-suid", "sh", "-c", "id -u; echo done"]
    spec = host.app("shop", host.service("shop", "web", args, user=1000, layers=["base", "suid"]))["web"]
    host.runtime.start(spec)
    assert host.says("shop", "web", "done").splitlines() == ["1000", "done"]


def test_threat_50_root_of_a_container_is_nobody_of_the_host(host: World) -> None:
    import os

    pid = host.runtime.start(host.app("shop", host.service("shop", "web", ["/bin/sleep", "1000"]))["web"])
    assert os.stat(f"/proc/{pid}").st_uid == UID_BASE
    assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
