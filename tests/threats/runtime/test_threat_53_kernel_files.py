"""Writes to what /proc and /sys show of the kernel, from inside a real container."""

from __future__ import annotations

from pathlib import Path

from runtime_support import World

TARGETS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper", "/sys/power/state",
    "/sys/module/kernel/parameters/panic", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/cgroup.procs",
)  # fmt: skip
ATTACK = """
for f in "$@"; do (echo 1 > $f) 2>/dev/null && echo "wrote $f"; done
mkdir /sys/fs/cgroup/x 2>/dev/null && echo made
echo done
"""


def test_threat_53_no_file_of_the_kernel_can_be_written(host: World) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    host.runtime.start(host.app("evil", host.service("evil", "w", ["/bin/sh", "-c", ATTACK, "sh", *TARGETS]))["w"])
    assert host.says("evil", "w", "done").splitlines() == ["done"]
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_threat_53_what_tells_of_the_kernels_memory_is_masked_and_no_host_cgroup_shows(host: World) -> None:
    look = "head -c 16 /proc/kcore; cat /proc/keys /proc/timer_list; ls /sys/firmware /sys/fs/cgroup; echo done"
    host.runtime.start(host.app("evil", host.service("evil", "r", ["/bin/sh", "-c", look]))["r"])
    said = host.says("evil", "r", "done").splitlines()
    nothing = ("Permission denied", "No such file or directory")
    assert [line for line in said if line and not line.endswith((":", *nothing))] == ["done"]


def test_threat_53_its_sysfs_shows_its_own_network_alone(host: World) -> None:
    host.runtime.start(host.app("evil", host.service("evil", "r", ["/bin/ls", "/sys/class/net"]))["r"])
    host.ended("evil", "r")
    assert host.log("evil", "r").split() == ["eth0", "lo"]
