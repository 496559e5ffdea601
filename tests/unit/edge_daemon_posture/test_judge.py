from __future__ import annotations

import json

import pytest

from edge_daemon.posture.facts import CgroupMode, Facts, Program
from edge_daemon.posture.judge import Check, Verdict, judge, mended_boot_line, passes
from edge_daemon.posture.limits import Means, enforcement
from edge_daemon.posture.report import as_data, as_text, for_enrolment

GOOD = Facts(
    kernel="6.12.1",
    machine="x86_64",
    command_line="quiet",
    cgroup_mode=CgroupMode.V2,
    controllers=frozenset({"cpu", "cpuset", "io", "memory", "pids"}),
    swap_accounting=True,
    swap_bytes=1 << 30,
    memory_bytes=4 << 30,
    max_user_namespaces=10_000,
    overlayfs=True,
    loop_devices=True,
    seccomp_filter=True,
    network_namespaces=True,
    programs=(
        ("crun", Program("/usr/bin/crun", "1.27")),
        ("runc", Program("/usr/sbin/runc", "1.5.0")),
        ("conmon", Program("/usr/bin/conmon", "2.1.6")),
        ("nft", Program("/usr/sbin/nft", "1.0.6")),
        ("mkfs.ext4", Program("/usr/sbin/mkfs.ext4", "")),
    ),
    cni_folder="/usr/lib/cni",
    cni_plugins=frozenset({"bridge", "static", "loopback"}),
    now=1_790_000_000,
    state_folder="/var/lib/roadstead",
    free_bytes=8 << 30,
)
V1 = GOOD._replace(
    cgroup_mode=CgroupMode.V1,
    controllers=frozenset({"cpu", "cpuacct", "cpuset", "blkio", "memory", "pids", "devices", "freezer"}),
)
HYBRID = V1._replace(cgroup_mode=CgroupMode.HYBRID)
PI_LINE = "console=serial0,115200 console=tty1 root=PARTUUID=1b2c-02 rootfstype=ext4 fsck.repair=yes rootwait"
PI = GOOD._replace(
    kernel="6.12.25+rpt-rpi-v8",
    machine="aarch64",
    model="Raspberry Pi 4 Model B Rev 1.4",
    command_line=f"coherent_pool=1M cgroup_disable=memory snd_bcm2835.enable_hdmi=0 {PI_LINE}",
    boot_line_file="/boot/firmware/cmdline.txt",
    boot_line=PI_LINE,
    controllers=GOOD.controllers - {"memory"},
    disabled_controllers=frozenset({"memory"}),
    swap_bytes=0,
    swap_accounting=None,
)


def bad(facts: Facts) -> dict[str, Check]:
    return {check.name: check for check in judge(facts) if check.verdict is not Verdict.OK}


@pytest.mark.parametrize("facts", [GOOD, V1, HYBRID], ids=["v2", "v1", "hybrid"])
def test_a_good_host_has_nothing_to_mend(facts: Facts) -> None:
    assert bad(facts) == {}
    assert passes(judge(facts))


def test_raspberry_pi_os_as_it_boots_is_told_the_exact_line() -> None:
    assert bad(PI) == {
        "memory limits": Check(
            "memory limits",
            Verdict.FAIL,
            "not enforced: the kernel was booted with cgroup_disable=memory",
            f"make the one line of /boot/firmware/cmdline.txt read: {PI_LINE} cgroup_enable=memory cgroup_memory=1"
            "   then reboot",
        )
    }
    assert not passes(judge(PI))


def test_an_older_raspberry_pi_os_is_told_its_own_file() -> None:
    older = PI._replace(
        boot_line_file="/boot/cmdline.txt", cgroup_mode=CgroupMode.V1, controllers=V1.controllers - {"memory"}
    )
    assert bad(older)["memory limits"].mend.startswith("make the one line of /boot/cmdline.txt read: console=")


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        ("root=x", "root=x cgroup_enable=memory cgroup_memory=1"),
        ("root=x cgroup_disable=memory quiet", "root=x quiet cgroup_enable=memory cgroup_memory=1"),
        ("root=x cgroup_memory=1", "root=x cgroup_memory=1 cgroup_enable=memory"),
        ("root=x cgroup_enable=memory cgroup_memory=1", "root=x cgroup_enable=memory cgroup_memory=1"),
    ],
)
def test_a_boot_line_is_mended_without_saying_anything_twice(line: str, mended: str) -> None:
    assert mended_boot_line(line) == mended
    assert mended_boot_line(mended) == mended


NO_MEMORY = {"controllers": GOOD.controllers - {"memory"}}


@pytest.mark.parametrize(
    ("change", "name", "verdict", "words"),
    [
        pytest.param(
            {**NO_MEMORY, "command_line": "quiet cgroup_disable=memory"},
            "memory limits",
            "fail",
            "take cgroup_disable=memory out of",
            id="a PC that was told to",
        ),
        pytest.param(
            {**NO_MEMORY, "disabled_controllers": frozenset({"memory"})},
            "memory limits",
            "fail",
            "add cgroup_enable=memory to",
            id="a kernel that is off by default",
        ),
        pytest.param(NO_MEMORY, "memory limits", "fail", "echo +memory >", id="a kernel without, or not handed down"),
        pytest.param(
            {"cgroup_mode": CgroupMode.NONE, "controllers": frozenset()},
            "control groups",
            "fail",
            "mount -t cgroup2",
            id="no control groups",
        ),
        pytest.param({"swap_accounting": False}, "swap limits", "fail", "swapaccount=1", id="swap without accounting"),
        pytest.param({"swap_accounting": None}, "swap limits", "warn", "run it as root", id="swap that cannot be seen"),
        pytest.param({"controllers": GOOD.controllers - {"cpu"}}, "CPU limits", "fail", "cpu controller", id="no cpu"),
        pytest.param(
            {"controllers": GOOD.controllers - {"pids"}}, "process limits", "fail", "pids controller", id="no pids"
        ),
        pytest.param(
            {"controllers": GOOD.controllers - {"io"}}, "disk rate limits", "warn", "io controller", id="no io"
        ),
        pytest.param(
            {"controllers": GOOD.controllers - {"cpuset"}}, "CPU pinning", "warn", "cpuset controller", id="no cpuset"
        ),
        pytest.param(
            {"max_user_namespaces": 0},
            "user namespaces",
            "fail",
            "sysctl -w user.max_user_namespaces",
            id="user namespaces off",
        ),
        pytest.param(
            {"max_user_namespaces": None}, "user namespaces", "fail", "CONFIG_USER_NS", id="no user namespaces"
        ),
        pytest.param({"overlayfs": False}, "overlayfs", "fail", "modprobe overlay", id="no overlayfs"),
        pytest.param({"seccomp_filter": False}, "seccomp", "fail", "CONFIG_SECCOMP_FILTER", id="no seccomp"),
        pytest.param(
            {"network_namespaces": False}, "network namespaces", "fail", "CONFIG_NET_NS", id="no network namespaces"
        ),
        pytest.param({"programs": GOOD.programs[2:]}, "runtime", "fail", "apt install crun", id="no runtime"),
        pytest.param({"programs": GOOD.programs[:2]}, "conmon", "fail", "apt install conmon", id="no conmon"),
        pytest.param({"programs": GOOD.programs[:3]}, "nft", "fail", "apt install nftables", id="no nft"),
        pytest.param({"programs": GOOD.programs[:4]}, "volumes", "warn", "apt install e2fsprogs", id="no mkfs.ext4"),
        pytest.param({"loop_devices": False}, "volumes", "warn", "modprobe loop", id="no loop devices"),
        pytest.param(
            {"cni_plugins": frozenset({"bridge"})},
            "CNI plugins",
            "fail",
            "containernetworking-plugins",
            id="some CNI plugins missing",
        ),
        pytest.param({"now": 0}, "clock", "warn", "the server is reached all the same", id="1970"),
        pytest.param({"now": 5_000_000_000}, "clock", "warn", "let it be set", id="2128"),
        pytest.param({"free_bytes": 100 << 20}, "disk space", "fail", "--state-dir", id="full"),
        pytest.param({"free_bytes": 500 << 20}, "disk space", "warn", "--state-dir", id="nearly full"),
        pytest.param({"is_root": False}, "privileges", "warn", "run it as root", id="not root"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(
    change: dict[str, object], name: str, verdict: str, words: str
) -> None:
    facts = GOOD._replace(**change)  # type: ignore[arg-type]
    found = bad(facts)[name]
    assert found.verdict.value == verdict
    assert words in found.mend
    assert passes(judge(facts)) == (verdict == "warn")


def test_crun_alone_does_not_do_on_a_hybrid_host_and_is_not_used_beside_runc() -> None:
    alone = HYBRID._replace(programs=(GOOD.programs[0], *GOOD.programs[2:]))
    assert bad(alone)["runtime"].mend.startswith("apt install runc")
    old = HYBRID._replace(programs=(("crun", Program("/usr/bin/crun", "1.8.1")), *GOOD.programs[1:]))
    assert bad(old) == {}
    assert {c.name: c.found for c in judge(old)}["crun"] == "1.8.1, not used: it refuses hybrid control groups"


def test_a_vulnerable_runtime_is_reported_with_what_mends_it_and_not_refused() -> None:
    debian = GOOD._replace(
        programs=(("runc", Program("/usr/sbin/runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1")), *GOOD.programs[2:])
    )
    found = bad(debian)["runc"]
    assert found.verdict is Verdict.WARN
    assert found.found.endswith("CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579")
    assert found.mend.startswith("runc 1.3.6, 1.4.3 or 1.5.0 mends it; look whether your distribution has")
    assert passes(judge(debian))
    mute = GOOD._replace(programs=(("crun", Program("/usr/bin/crun", "")), *GOOD.programs[2:]))
    assert bad(mute)["crun"].found == "/usr/bin/crun, of unknown version"


def test_the_table_of_limits_says_what_v1_emulates_and_lacks() -> None:
    assert set(enforcement(GOOD).values()) == {Means.ENFORCED}
    v1 = enforcement(V1)
    assert {k: v for k, v in v1.items() if v is not Means.ENFORCED} == {
        "memory-high": Means.ABSENT,
        "oom-group": Means.EMULATED,
    }
    pi = enforcement(PI)
    assert {k for k, v in pi.items() if v is Means.ABSENT} == {
        "memory", "memory-high", "swap", "oom-group", "total-memory",
    }  # fmt: skip
    assert set(enforcement(Facts()).values()) == {Means.ABSENT}
    assert enforcement(GOOD._replace(swap_accounting=False))["swap"] is Means.ABSENT


def test_the_report_keeps_a_line_that_is_to_be_copied_whole() -> None:
    text = as_text(PI, judge(PI))
    assert any(f"{PI_LINE} cgroup_enable=memory cgroup_memory=1" in line for line in text.splitlines())
    assert " x memory limits" in text
    assert "1 of 19 checks failed." in text
    assert "This host keeps every limit." in as_text(GOOD, judge(GOOD))


def test_the_report_for_machines_and_for_enrolment_is_json_and_small() -> None:
    data = json.loads(json.dumps(as_data(PI, judge(PI))))
    assert (data["ok"], data["host"]["cgroups"], data["limits"]["memory"]) == (False, "v2", "absent")
    assert [c["name"] for c in data["checks"] if c["verdict"] == "fail"] == ["memory limits"]
    assert [c for c in data["checks"] if (c["verdict"] == "ok") == bool(c["mend"])] == []
    told = json.dumps(for_enrolment(Facts(), judge(Facts())))
    assert len(told) < 4096
