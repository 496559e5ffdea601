from __future__ import annotations

from pathlib import Path

import pytest

from edge_daemon.posture.collect import collect
from edge_daemon.posture.facts import CgroupMode, Facts, Program

V2_MOUNTS = "24 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = """31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
"""
HYBRID_MOUNTS = V1_MOUNTS + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
CGROUPS = (
    "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t6\t1\ncpuacct\t2\t6\t1\nmemory\t0\t18\t0\npids\t8\t6\t1\n"
)
SAID = {
    "runc": "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n",
    "crun": "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\n",
    "conmon": "conmon version 2.1.6\ncommit: unknown\n",
    "nft": "nftables v1.0.6 (Lester Gooch #5)\n",
    "mkfs.ext4": "",
}


class Host:
    """A folder that stands for a host's root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, name: str, text: str = "", mode: int = 0o644) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def look(self) -> Facts:
        return collect(self.root / "state", root=self.root, ask=lambda p: SAID[p.name], now=lambda: 77.5)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.file("proc/self/mountinfo", V2_MOUNTS)
    made.file("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    made.file("proc/meminfo", "MemTotal:        3884332 kB\nSwapTotal:        102396 kB\n")
    return made


def test_a_host_without_anything_is_seen_as_such(tmp_path: Path) -> None:
    seen = Host(tmp_path).look()
    assert (seen.cgroup_mode, seen.controllers, seen.max_user_namespaces) == (CgroupMode.NONE, frozenset(), None)
    assert (seen.overlayfs, seen.seccomp_filter, seen.programs, seen.cni_plugins) == (False, False, (), frozenset())
    assert seen.now == 77
    assert seen.free_bytes > 0


def test_a_v2_host_is_read_from_its_root_group(host: Host) -> None:
    seen = host.look()
    assert (seen.cgroup_mode, seen.controllers) == (CgroupMode.V2, frozenset({"cpuset", "cpu", "io", "memory", "pids"}))
    assert (seen.memory_bytes, seen.swap_bytes) == (3884332 * 1024, 102396 * 1024)
    assert seen.swap_accounting is None
    host.file("sys/fs/cgroup/init.scope/memory.max", "max")
    assert host.look().swap_accounting is False
    host.file("sys/fs/cgroup/init.scope/memory.swap.max", "max")
    assert host.look().swap_accounting is True


@pytest.mark.parametrize(("mounts", "mode"), [(V1_MOUNTS, CgroupMode.V1), (HYBRID_MOUNTS, CgroupMode.HYBRID)])
def test_a_v1_controller_counts_when_it_is_mounted_and_enabled(host: Host, mounts: str, mode: CgroupMode) -> None:
    host.file("proc/self/mountinfo", mounts)
    host.file("proc/cgroups", CGROUPS)
    seen = host.look()
    assert (seen.cgroup_mode, seen.controllers) == (mode, frozenset({"cpu", "cpuacct", "pids"}))
    assert seen.disabled_controllers == frozenset({"memory"})
    assert seen.swap_accounting is False
    host.file("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "0")
    assert host.look().swap_accounting is True


@pytest.mark.parametrize("file", ["boot/firmware/cmdline.txt", "boot/cmdline.txt"])
def test_a_raspberry_pis_boot_line_is_found_where_its_system_keeps_it(host: Host, file: str) -> None:
    host.file(file, "console=tty1 rootwait\n")
    assert host.look().boot_line_file == ""
    host.file("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    seen = host.look()
    assert (seen.model, seen.boot_line_file) == ("Raspberry Pi 5 Model B Rev 1.0", f"/{file}")
    assert seen.boot_line == "console=tty1 rootwait"


def test_programs_are_found_with_their_versions_and_the_distributions_revision(host: Host) -> None:
    for name in SAID:
        host.file(f"usr/sbin/{name}", mode=0o755)
    host.file("usr/bin/runc", mode=0o755)
    assert dict(host.look().programs) == {
        "runc": Program("/usr/sbin/runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1"),
        "crun": Program("/usr/sbin/crun", "1.8.1"),
        "conmon": Program("/usr/sbin/conmon", "2.1.6"),
        "nft": Program("/usr/sbin/nft", "1.0.6"),
        "mkfs.ext4": Program("/usr/sbin/mkfs.ext4", ""),
    }


def test_overlayfs_counts_built_in_loaded_or_as_a_module_that_can_be_loaded(host: Host) -> None:
    assert not host.look().overlayfs
    host.file("proc/sys/kernel/osrelease", "6.1.0-test\n")
    host.file("lib/modules/6.1.0-test/modules.dep", "kernel/fs/overlayfs/overlay.ko.xz: kernel/lib/x.ko\n")
    assert host.look().overlayfs
    host.file("lib/modules/6.1.0-test/modules.dep", "")
    host.file("proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n")
    assert host.look().overlayfs


def test_loop_devices_count_when_they_are_there_or_their_module_can_be_loaded(host: Host) -> None:
    assert not host.look().loop_devices
    host.file("proc/sys/kernel/osrelease", "6.1.0-test\n")
    host.file("lib/modules/6.1.0-test/modules.dep", "kernel/drivers/block/loop.ko.xz:\n")
    assert host.look().loop_devices
    host.file("lib/modules/6.1.0-test/modules.dep", "")
    host.file("dev/loop-control")
    assert host.look().loop_devices


def test_cni_plugins_are_looked_for_where_distributions_put_them(host: Host) -> None:
    host.file("opt/cni/bin/bridge")
    assert (host.look().cni_folder, host.look().cni_plugins) == ("/opt/cni/bin", frozenset({"bridge"}))
    host.file("usr/lib/cni/portmap")
    assert host.look().cni_folder == "/usr/lib/cni"


def test_the_rest_of_the_kernels_abilities_are_read_from_proc(host: Host) -> None:
    host.file("proc/sys/user/max_user_namespaces", "15432\n")
    host.file("proc/sys/kernel/seccomp/actions_avail", "kill_process trap errno log allow\n")
    host.file("proc/self/ns/net")
    host.file("proc/cmdline", "quiet cgroup_disable=memory\n")
    seen = host.look()
    assert (seen.max_user_namespaces, seen.seccomp_filter, seen.network_namespaces) == (15432, True, True)
    assert seen.command_line == "quiet cgroup_disable=memory"
