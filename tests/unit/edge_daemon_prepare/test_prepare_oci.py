from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trust_support import release_value

from edge_daemon.prepare import oci
from edge_daemon.prepare.errors import PlanError, SealError
from edge_daemon.prepare.host import Host, device_numbers, platforms_of
from edge_daemon.prepare.manifest import ImageConfig
from edge_daemon.prepare.mounts import Sources, mounts
from edge_daemon.prepare.users import Identity
from fleet_protocol.documents.release import Release, Service

HOST = Host(
    ("linux/amd64",),
    unified_cgroup=False,
    most_open_files=4096,
    cpus=4,
    name_servers="",
    block_device=(8, 0),
    init="/init",
)
V2 = Host(
    ("linux/amd64",), unified_cgroup=True, most_open_files=100, cpus=4, name_servers="", block_device=None, init=""
)
PLACES = oci.Places("/run/rootfs", "/run/netns", "/roadstead/apps/cam/web")
LIMITS = {"memory_bytes": 64 << 20, "cpu_millis": 500, "pids": 32}


def service(**over: Any) -> Service:
    return Release.from_value(release_value(service=over)).services[0]


def image(**over: Any) -> ImageConfig:
    plain: dict[str, Any] = {"entrypoint": ("/e",), "command": ("c",), "environment": (("A", "image"), ("B", "image"))}
    return ImageConfig(**{**plain, "user": "", "working_dir": "", "diff_ids": (), **over})


def made(wanted: Service, host: Host = HOST, user: Identity = Identity(0, 0, ())) -> dict[str, Any]:  # noqa: B008
    return oci.config(wanted, "linux/amd64", image(), user, {}, [], (), PLACES, host, 1_000_000)


@pytest.mark.parametrize(
    ("over", "args"),
    [
        ({}, ["/e", "c"]),
        ({"command": ["x"]}, ["/e", "x"]),
        ({"entrypoint": ["/n"]}, ["/n"]),
        ({"entrypoint": ["/n"], "command": ["x"]}, ["/n", "x"]),
        ({"entrypoint": [], "command": ["/x"]}, ["/x"]),
        ({"init": True}, ["/dev/.init", "--", "/e", "c"]),
    ],
)
def test_arguments_follow_the_rule_of_entrypoint_and_command(over: dict[str, Any], args: list[str]) -> None:
    assert oci.arguments(service(**over), image()) == args


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(SealError, match="neither the release nor the image says what to run"):
        oci.arguments(service(), image(entrypoint=(), command=()))


def test_variables_come_from_image_release_and_configuration_in_this_order() -> None:
    wanted = service(environment={"B": "release", "C": "release"})
    said = oci.environment(wanted, image(), {"C": "configuration"})
    assert said == [f"PATH={oci.DEFAULT_PATH}", "A=image", "B=release", "C=configuration"]


def test_limits_of_the_first_kind_of_cgroup() -> None:
    limits = {**LIMITS, "cpu_weight": 50, "cpuset": "0-1", "io_read_bps": 1000}
    assert oci.resources(service(limits=limits).limits, (), HOST) == {
        "memory": {"limit": 64 << 20, "swap": 64 << 20},
        "cpu": {"quota": 50_000, "period": 100_000, "cpus": "0-1", "shares": 512},
        "pids": {"limit": 32},
        "devices": [{"allow": False, "access": "rwm"}],
        "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
    }


def test_limits_of_the_second_kind_of_cgroup() -> None:
    limits = {**LIMITS, "memory_high_bytes": 32 << 20, "io_read_bps": 1000}
    said = oci.resources(service(limits=limits).limits, (oci.Granted("/dev/x", "c", 1, 2),), V2)
    assert said["unified"] == {"memory.oom.group": "1", "cpu.weight": "100", "memory.high": str(32 << 20)}
    assert said["devices"][1:] == [{"allow": True, "type": "c", "major": 1, "minor": 2, "access": "rw"}]
    assert "blockIO" not in said
    assert "shares" not in said["cpu"]


def test_cores_that_this_host_does_not_have_are_refused() -> None:
    with pytest.raises(SealError, match="wants the cores 0-4, this host has 0-3"):
        oci.resources(service(limits={**LIMITS, "cpuset": "0-4"}).limits, (), HOST)


def test_open_files_never_exceed_what_the_runtime_itself_may_have() -> None:
    assert made(service())["process"]["rlimits"][1] == {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}
    assert made(service(), V2)["process"]["rlimits"][1] == {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}


def test_the_hosts_network_is_the_only_one_without_a_namespace() -> None:
    kinds = {
        network: [n["type"] for n in made(service(privileges={"network": network}))["linux"]["namespaces"]]
        for network in ("app", "none", "host")
    }
    assert kinds["app"] == kinds["none"] == [*kinds["host"], "network"]


def test_a_granted_capability_is_ambient_only_for_a_user_that_is_not_root() -> None:
    wanted = service(privileges={"capabilities": ["CAP_NET_RAW"]})
    as_root = made(wanted)["process"]["capabilities"]
    as_user = made(wanted, user=Identity(5, 5, ()))["process"]["capabilities"]
    assert as_root == {"bounding": ["CAP_NET_RAW"], "effective": ["CAP_NET_RAW"], "permitted": ["CAP_NET_RAW"], "inheritable": [], "ambient": []}  # fmt: skip # noqa: E501
    assert as_user["ambient"] == as_user["inheritable"] == ["CAP_NET_RAW"]


def test_mounts_of_a_read_only_root_have_sized_scratch_space_and_of_a_writable_one_none() -> None:
    sources = Sources(Path("/s"), Path("/h"), Path("/r"), Path("/v"), (("/etc/x", Path("/f")),), "")
    plain = mounts(service(tmpfs=[{"target": "/tmp"}], volumes=[{"name": "d", "target": "/data"}]), sources)
    at = {m["destination"]: m for m in plain}
    assert [m["destination"] for m in plain].count("/tmp") == 1
    assert "size=4194304" in at["/run"]["options"]
    assert (at["/data"]["source"], at["/etc/x"]["source"]) == ("/v/d", "/f")
    writable = mounts(service(privileges={"writable_root": True}), sources)
    assert not {"/tmp", "/run"} & {m["destination"] for m in writable}


def test_two_mounts_on_one_target_and_a_missing_init_are_refused() -> None:
    sources = Sources(Path("/s"), Path("/h"), Path("/r"), Path("/v"), (), "")
    twice = service(tmpfs=[{"target": "/x"}], volumes=[{"name": "d", "target": "/x"}])
    with pytest.raises(SealError, match="two mounts have the same target"):
        mounts(twice, sources)
    with pytest.raises(SealError, match="wants an init process, and this host has none"):
        mounts(service(init=True), sources)


def test_shared_memory_is_never_without_a_limit() -> None:
    sources = Sources(Path("/s"), Path("/h"), Path("/r"), Path("/v"), (), "")
    at = {m["destination"]: m for m in mounts(service(shm_bytes=0), sources)}
    assert "size=4096" in at["/dev/shm"]["options"]


@pytest.mark.parametrize(
    ("machine", "bits", "first"),
    [
        ("x86_64", 64, "linux/amd64"),
        ("aarch64", 64, "linux/arm64"),
        ("aarch64", 32, "linux/arm/v7"),
        ("armv6l", 32, "linux/arm/v6"),
    ],
)
def test_platforms_follow_the_machine_and_the_width_of_its_programs(machine: str, bits: int, first: str) -> None:
    assert platforms_of(machine, bits)[0] == first


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(PlanError, match="this kind of machine is not supported"):
        platforms_of("m68k", 32)


def test_a_granted_device_must_be_one() -> None:
    assert device_numbers("/dev/null") == ("c", 1, 3)
    with pytest.raises(SealError, match="no such device"):
        device_numbers("/dev/absent")
    with pytest.raises(SealError, match="is not a device"):
        device_numbers("/etc")
