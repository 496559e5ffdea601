"""What a host can and cannot enforce, and what to do about it. Pure: facts in, checks out.

`fail` is what takes away a promise that we make (a container without a memory limit does not exist); `warn` is what
an owner should know and may live with. Whatever is not `ok` says what to do.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from edge_daemon.posture import versions
from edge_daemon.posture.facts import CgroupMode, Facts, Program

CLOCK_FLOOR = 1_767_225_600  # 2026-01-01: this program is younger than that
CLOCK_CEILING = 4_102_444_800  # 2100-01-01
MIN_FREE_BYTES = 256 << 20
GOOD_FREE_BYTES = 1 << 30
ID_RANGE_NAMESPACES = 64
CNI_WANTED = ("bridge", "static")
MEMORY_ON = ("cgroup_enable=memory", "cgroup_memory=1")
MEMORY_OFF = "cgroup_disable=memory"


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(NamedTuple):
    """One line of the report."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def judge(facts: Facts) -> list[Check]:
    """All checks, in the order in which they are shown."""
    return [
        *_privileges(facts),
        _cgroups(facts),
        _memory(facts),
        _swap(facts),
        *_controllers(facts),
        _user_namespaces(facts),
        _kernel_has("overlayfs", facts.overlayfs, "a container's root cannot be put together", "modprobe overlay"),
        _kernel_has(
            "seccomp",
            facts.seccomp_filter,
            "system calls cannot be filtered",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        _kernel_has(
            "network namespaces",
            facts.network_namespaces,
            "apps cannot be kept apart",
            "use a kernel with CONFIG_NET_NS",
        ),
        *_runtimes(facts),
        _present(facts, "conmon", "no container can be started"),
        _present(facts, "nft", "apps cannot be kept from each other and from this host", package="nftables"),
        _cni(facts),
        _volumes(facts),
        _clock(facts),
        _disk(facts),
    ]


def passes(checks: list[Check]) -> bool:
    """Whether this host keeps what we promise."""
    return all(check.verdict is not Verdict.FAIL for check in checks)


def _privileges(facts: Facts) -> list[Check]:
    if facts.is_root:
        return []
    return [Check("privileges", Verdict.WARN, "not root: some facts cannot be seen", "run it as root")]


def _cgroups(facts: Facts) -> Check:
    match facts.cgroup_mode:
        case CgroupMode.V2:
            return Check("control groups", Verdict.OK, "v2")
        case CgroupMode.V1:
            return Check("control groups", Verdict.OK, "v1; memory-high is absent, oom-group emulated")
        case CgroupMode.HYBRID:
            found = "hybrid: v1 controllers with a v2 hierarchy beside them; memory-high is absent, oom-group emulated"
            return Check("control groups", Verdict.OK, found)
        case CgroupMode.NONE:
            mend = "mount -t cgroup2 none /sys/fs/cgroup (systemd does so by itself)"
            return Check("control groups", Verdict.FAIL, "none are mounted: no limit can be enforced", mend)


def _memory(facts: Facts) -> Check:
    if "memory" in facts.controllers:
        return Check("memory limits", Verdict.OK, "enforced by the kernel")
    found = "not enforced: the memory controller is absent"
    words = facts.command_line.split()
    if MEMORY_OFF in words:
        found = f"not enforced: the kernel was booted with {MEMORY_OFF}"
    elif "memory" in facts.disabled_controllers:
        found = "not enforced: the memory controller was switched off at boot"
    return Check("memory limits", Verdict.FAIL, found, _mend_memory(facts))


def _mend_memory(facts: Facts) -> str:
    if facts.cgroup_mode is CgroupMode.NONE:
        return "mount control groups first"
    if facts.boot_line_file:
        return f"make the one line of {facts.boot_line_file} read: {mended_boot_line(facts.boot_line)}   then reboot"
    if MEMORY_OFF in facts.command_line.split():
        return (
            f"take {MEMORY_OFF} out of the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub), then reboot"
        )
    if "memory" in facts.disabled_controllers:
        return f"add {MEMORY_ON[0]} to the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub), then reboot"
    if facts.cgroup_mode is CgroupMode.V2:
        return "echo +memory > /sys/fs/cgroup/cgroup.subtree_control, or use a kernel with CONFIG_MEMCG"
    return "mount the memory controller, or use a kernel with CONFIG_MEMCG"


def mended_boot_line(line: str) -> str:
    """A Raspberry Pi's command line with the memory controller switched on.

    The firmware puts `cgroup_disable=memory` in front of this line; what the line itself says comes later and wins.
    """
    words = [word for word in line.split() if word != MEMORY_OFF]
    return " ".join([*words, *(word for word in MEMORY_ON if word not in words)])


def _swap(facts: Facts) -> Check:
    if not facts.swap_bytes:
        return Check("swap limits", Verdict.OK, "no swap on this host")
    if facts.swap_accounting is None:
        return Check("swap limits", Verdict.WARN, "could not be seen", "run it as root")
    if facts.swap_accounting:
        return Check("swap limits", Verdict.OK, "enforced by the kernel")
    mend = "add swapaccount=1 to the kernel's command line and reboot, or run without swap: swapoff -a"
    return Check("swap limits", Verdict.FAIL, "not enforced: a container can fill the swap space", mend)


def _controllers(facts: Facts) -> list[Check]:
    if facts.cgroup_mode is CgroupMode.NONE:
        return []
    io = "io" if facts.cgroup_mode is CgroupMode.V2 else "blkio"
    wanted = (
        ("cpu", "CPU limits", Verdict.FAIL),
        ("pids", "process limits", Verdict.FAIL),
        ("cpuset", "CPU pinning", Verdict.WARN),
        (io, "disk rate limits", Verdict.WARN),
    )
    checks = []
    for controller, name, verdict in wanted:
        if controller in facts.controllers:
            checks.append(Check(name, Verdict.OK, "enforced by the kernel"))
        else:
            mend = f"use a kernel that has the {controller} controller, and no cgroup_disable={controller} at boot"
            checks.append(Check(name, verdict, f"not enforced: the {controller} controller is absent", mend))
    return checks


def _user_namespaces(facts: Facts) -> Check:
    name = "user namespaces"
    if facts.max_user_namespaces is None:
        return Check(name, Verdict.FAIL, "the kernel has none", "use a kernel with CONFIG_USER_NS")
    if facts.max_user_namespaces < ID_RANGE_NAMESPACES:
        found = f"at most {facts.max_user_namespaces} are allowed"
        return Check(name, Verdict.FAIL, found, "sysctl -w user.max_user_namespaces=10000, and in /etc/sysctl.d")
    return Check(name, Verdict.OK, "available")


def _kernel_has(name: str, has: bool, otherwise: str, mend: str) -> Check:
    if has:
        return Check(name, Verdict.OK, "available")
    return Check(name, Verdict.FAIL, f"not available: {otherwise}", mend)


def _runtimes(facts: Facts) -> list[Check]:
    runc, crun = facts.program("runc"), facts.program("crun")
    if runc is None and crun is None:
        wanted = "runc" if facts.cgroup_mode is CgroupMode.HYBRID else "crun"
        return [Check("runtime", Verdict.FAIL, "neither crun nor runc is installed", f"apt install {wanted}")]
    if runc is None and facts.cgroup_mode is CgroupMode.HYBRID:
        found = "only crun is installed, which refuses hybrid control groups"
        return [
            Check("runtime", Verdict.FAIL, found, "apt install runc, or boot with systemd.unified_cgroup_hierarchy=1")
        ]
    checks = [_version("runc", runc)] if runc else []
    if crun:
        checks.append(_version("crun", crun))
        if facts.cgroup_mode is CgroupMode.HYBRID:
            checks[-1] = Check("crun", Verdict.OK, f"{crun.version}, not used: it refuses hybrid control groups")
    return checks


def _version(name: str, program: Program) -> Check:
    shown = program.package or program.version
    if versions.parse(program.version) is None:
        return Check(name, Verdict.WARN, f"{program.path}, of unknown version", f"{name} --version should name one")
    faults = versions.faults_of(name, program.version, program.package)
    if not faults:
        return Check(name, Verdict.OK, shown)
    names = ", ".join(fault.name for fault in faults)
    mend = f"{name} {_either(faults[-1].mended)} mends it"
    if "deb" in program.package or "+ds" in program.version:
        mend += "; look whether your distribution has: apt list --upgradable, or its backports"
    return Check(name, Verdict.WARN, f"{shown} has {names}", mend)


def _either(mended: tuple[str, ...]) -> str:
    *first, last = mended
    return f"{', '.join(first)} or {last}" if first else f"{last} or later"


def _present(facts: Facts, name: str, otherwise: str, package: str = "") -> Check:
    program = facts.program(name)
    if program is None:
        return Check(name, Verdict.FAIL, f"not installed: {otherwise}", f"apt install {package or name}")
    return Check(name, Verdict.OK, program.version or program.path)


def _cni(facts: Facts) -> Check:
    missing = [plugin for plugin in CNI_WANTED if plugin not in facts.cni_plugins]
    if not missing:
        return Check("CNI plugins", Verdict.OK, facts.cni_folder)
    found = f"missing: {', '.join(missing)}: apps have no network"
    return Check("CNI plugins", Verdict.FAIL, found, "apt install containernetworking-plugins")


def _volumes(facts: Facts) -> Check:
    missing = [] if facts.program("mkfs.ext4") else [("mkfs.ext4 is not installed", "apt install e2fsprogs")]
    if not facts.loop_devices:
        missing.append(("the kernel has no loop devices", "modprobe loop, and a line `loop` in /etc/modules"))
    if not missing:
        return Check("volumes", Verdict.OK, "each has a file system of its own size")
    found = " and ".join(what for what, _ in missing)
    mend = "; ".join(mend for _, mend in missing)
    return Check("volumes", Verdict.WARN, f"{found}: a container with a volume cannot be started", mend)


def _clock(facts: Facts) -> Check:
    if CLOCK_FLOOR <= facts.now <= CLOCK_CEILING:
        return Check("clock", Verdict.OK, "plausible")
    found = "is before this program was made" if facts.now < CLOCK_FLOOR else "is far in the future"
    mend = "let it be set (systemd-timesyncd, chrony); what runs keeps running, and the server is reached all the same"
    return Check("clock", Verdict.WARN, found, mend)


def _disk(facts: Facts) -> Check:
    found = f"{facts.free_bytes >> 20} MiB free for {facts.state_folder}"
    mend = "free some space, or put the state directory on another disk: --state-dir"
    if facts.free_bytes < MIN_FREE_BYTES:
        return Check("disk space", Verdict.FAIL, found, mend)
    return Check("disk space", Verdict.OK if facts.free_bytes >= GOOD_FREE_BYTES else Verdict.WARN, found, mend)
