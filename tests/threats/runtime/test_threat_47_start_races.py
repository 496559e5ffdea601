"""CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: whoever shares something with a container that starts can swap it
under the runtime's hands. Old runtimes are reported; what the races need is not given to them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from runtime_support import World

from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.posture.versions import faults_of

RACES = """
mkdir -p /data/d
i=0
while :; do
  rm -rf /data/x; ln -s /proc/sys /data/x
  rm -rf /data/x; ln -s /sys /data/x
  rm -rf /data/x; ln -s ../../../.. /data/x
  rm -rf /data/x; mkdir /data/x
  i=$((i+1)); [ $i = 3 ] && echo racing
done
"""
LOOKS = """
for f in /proc/sysrq-trigger /proc/kcore /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname; do
  (echo "|/data/evil" > $f) 2>/dev/null && echo "wrote $f"
done
[ -s /proc/keys ] && [ "$(head -c 1 /proc/keys 2>/dev/null)" ] && echo "read /proc/keys"
[ -s /proc/timer_list ] && echo "read /proc/timer_list"
echo looked
sleep 1000
"""
CANARIES = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory")


def test_threat_47_a_neighbour_that_swaps_what_is_mounted_wins_nothing(host: World) -> None:
    before = [Path(canary).read_text() for canary in CANARIES]
    volumes = [{"name": "data", "target": "/data", "read_only": False}]
    racer = host.service("shop", "racer", ["/bin/sh", "-c", RACES], volumes=volumes)
    victim, config = host.service("shop", "victim", ["/bin/sh", "-c", LOOKS], volumes=volumes, address="10.88.3.3")
    scratch = next(m for m in config["mounts"] if m["destination"] == "/tmp")
    config["mounts"].append({**scratch, "destination": "/data/x"})  # below what the neighbour writes to
    specs = host.app("shop", racer, (victim, config))
    host.runtime.start(specs["racer"])
    host.says("shop", "racer", "racing")

    started = 0
    for _ in range(15):
        with suppress(RuntimeFailedError):  # refused or not: it must not reach anything of the host
            host.runtime.start(specs["victim"])
            said = host.says("shop", "victim", "looked")
            assert "wrote" not in said
            assert "read /proc" not in said
            started += 1
        host.runtime.remove("shop", "victim")

    print(f"{started} of 15 starts went through")
    assert [Path(canary).read_text() for canary in CANARIES] == before
    outside = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " /data/x " in line]
    assert outside == []
    assert host.seen("shop", "racer").pid is not None


def test_threat_47_a_container_has_no_terminal_and_no_namespace_of_the_host(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", ["/bin/sleep", "1000"]))["web"]
    host.runtime.start(spec)
    one = host.seen("shop", "web")

    config = json.loads((host.layout.container("shop", "web") / "config.json").read_text())
    assert config["process"]["terminal"] is False
    assert "hooks" not in config
    for kind in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert Path(f"/proc/{one.pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink(), kind
    assert not Path(f"/proc/{one.pid}/root/dev/console").exists()
    masked = Path(f"/proc/{one.pid}/mountinfo").read_text()
    assert " shared:" not in masked, "no mount of it reaches the host"
    for path in config["linux"]["maskedPaths"]:
        if Path(path).exists() and Path(path).is_file():
            assert f" {path} " in masked, path


@pytest.mark.parametrize(
    ("version", "open_to"),
    [
        ("1.1.5", True), ("1.2.7", True), ("1.2.8", False), ("1.3.2", True), ("1.3.3", False), ("1.4.0-rc.2", True),
        ("1.4.0-rc.3", False), ("1.5.0", False),
    ],
)  # fmt: skip
def test_threat_47_a_runtime_below_the_mended_ones_is_named(version: str, open_to: bool) -> None:
    names = " ".join(fault.name for fault in faults_of("runc", version))

    assert [cve in names for cve in ("CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881")] == [open_to] * 3
    assert "CVE-2025" not in " ".join(fault.name for fault in faults_of("crun", "1.8.1"))
