"""Rows 19, 48, 49, 50 and 53: the configuration that is sealed, and what the kernel says of it inside a container."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from container_support import output, runtime, spec
from oci_support import PLATFORM, Entry, Layer, busybox_image, tar
from prepare_support import Site
from probe_support import CALLS, program
from trust_support import release_value

from edge_daemon.prepare import seccomp
from edge_daemon.prepare.policy import NEVER_GRANTED, Policy, check_release
from fleet_protocol.documents.release import Release
from fleet_protocol.trust.errors import PolicyError

NEW_USER, NEW_NET, SIGCHLD = 0x10000000, 0x40000000, 17
CLONE = 56


def test_every_denied_call_fails_inside_a_container_of_the_default_profile(host: Site) -> None:
    denied = [name for name in CALLS if name not in ("getpid", "personality")]
    calls = [(CALLS[name], 0) for name in denied]
    more = [
        (CLONE, NEW_USER | SIGCHLD),
        (CLONE, NEW_NET | SIGCHLD),
        (CALLS["personality"], 0x0040000),
        (CALLS["getpid"], 0),
    ]
    probe = Entry("probe", program(calls + more))
    image = busybox_image({"Entrypoint": ["/probe"], "Cmd": None}, Layer(tar([probe])))
    assert host.run(host.service(image)).sealed
    with runtime(host) as made:
        made.start(spec(host))
        said = output(host, until=".").strip().split("\n")[-1]
    letters = dict(zip(denied, said, strict=False))
    assert set(letters.values()) == {"E", "N"}, letters
    assert letters["clone3"] == "N"  # so that a C library goes back to clone
    assert said[len(denied) :] == "NNN."


def test_nothing_is_in_both_lists_and_no_way_to_a_namespace_is_open() -> None:
    assert not set(seccomp.ALLOWED) & set(seccomp.DENIED)
    doors = {
        "unshare",
        "setns",
        "mount",
        "umount2",
        "clone3",
        "keyctl",
        "bpf",
        "ptrace",
        "io_uring_setup",
        "pivot_root",
        "clone",
    }
    assert not doors & set(seccomp.ALLOWED)
    for capability in seccomp.BY_CAPABILITY.values():
        assert not {"unshare", "setns", "mount", "bpf", "keyctl", "io_uring_setup", "clone3"} & set(capability)


@pytest.mark.parametrize("platform", seccomp.ARCHITECTURES)
def test_the_profile_denies_by_default_and_names_one_architecture(platform: str) -> None:
    profile = seccomp.profile(platform)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["architectures"] == [seccomp.ARCHITECTURES[platform]]


def test_threat_50_capabilities_are_empty_and_new_privileges_are_off(host: Site) -> None:
    assert host.run(host.service(busybox_image())).sealed
    process = host.config()["process"]
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    assert process["capabilities"] == {kind: [] for kind in kinds}
    assert process["noNewPrivileges"] is True
    assert process["terminal"] is False
    assert isinstance(process["user"]["uid"], int)  # threat 48: never a name
    config = host.config()
    assert config["root"]["readonly"] is True
    kinds_of_namespace = [n["type"] for n in config["linux"]["namespaces"]]
    assert kinds_of_namespace == ["user", "pid", "ipc", "uts", "mount", "cgroup", "network"]
    assert config["linux"]["seccomp"] == seccomp.profile(PLATFORM)
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(config["linux"]["maskedPaths"])  # threat 53
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(config["linux"]["readonlyPaths"])
    assert "hooks" not in config
    assert "annotations" not in config
    for mount in config["mounts"]:
        assert "nosuid" in mount["options"], mount
        assert mount["type"] != "cgroup"


def test_threat_19_no_privilege_beyond_the_policy_passes_whatever_is_combined() -> None:
    capabilities: list[list[str]] = [[], ["CAP_NET_RAW"], ["CAP_SYS_ADMIN"]]
    devices: list[list[str]] = [[], ["/dev/ttyUSB0"]]
    networks, roots = ["app", "host", "none"], [False, True]
    for caps, devs, network, root in itertools.product(capabilities, devices, networks, roots):
        wants = {"capabilities": caps, "devices": devs, "network": network, "writable_root": root}
        release = Release.from_value(release_value(service={"privileges": wants}))
        for pcaps, pdevs, pnetwork, proot in itertools.product(capabilities, devices, networks, roots):
            policy = Policy.from_value(
                {"capabilities": pcaps, "devices": pdevs, "network": [pnetwork], "writable_root": proot}
            )
            fits = set(caps) <= set(pcaps) - NEVER_GRANTED and set(devs) <= set(pdevs)
            fits = fits and (network != "host" or pnetwork == "host") and (proot or not root)
            assert allowed(release, policy) is fits, (wants, policy)


def allowed(release: Release, policy: Policy) -> bool:
    try:
        check_release(release, policy)
    except PolicyError:
        return False
    return True


@pytest.mark.parametrize(
    ("wants", "words"),
    [
        ({"capabilities": ["CAP_NET_ADMIN"], "network": "none"}, "wants capability CAP_NET_ADMIN"),
        ({"network": "host"}, "wants the host's network"),
        ({"writable_root": True, "network": "none"}, "wants a writable root"),
    ],
)
def test_threat_19_the_one_shot_refuses_what_the_host_does_not_allow(
    host: Site, wants: dict[str, Any], words: str
) -> None:
    refused = host.run(host.service(busybox_image(), privileges=wants)).refused
    assert words in refused["reason"]
    assert "which this host's own policy does not allow" in refused["reason"]


def test_a_capability_that_both_sides_allow_is_given_and_no_other(host: Site) -> None:
    host.layout.policy.write_text('{"capabilities": ["CAP_NET_RAW", "CAP_SYS_CHROOT"]}')
    wants = {"capabilities": ["CAP_NET_RAW"], "network": "none"}
    assert host.run(host.service(busybox_image({"User": "web"}), privileges=wants)).sealed
    assert set(map(tuple, host.config()["process"]["capabilities"].values())) == {("CAP_NET_RAW",)}


def test_a_policy_that_cannot_be_read_is_not_the_default_one(host: Site) -> None:
    host.layout.policy.write_text('{"capabilitys": []}')
    refused = host.run(host.service(busybox_image())).refused
    assert refused["element"] == "policy.json"
    assert "capabilitys" in refused["reason"]
