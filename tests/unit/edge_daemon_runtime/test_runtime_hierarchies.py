from __future__ import annotations

import pytest

from edge_daemon.keeper.runtime.hierarchies import Hierarchies, assemble, parse_mounts

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
BESIDE = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
ODD = "36 31 0:32 / /mnt/with\\040space rw - cgroup cgroup rw,memory\nnonsense\n"


def detected(mountinfo: str, controllers: str = "") -> Hierarchies:
    return assemble(*parse_mounts(mountinfo), controllers)


@pytest.mark.parametrize(
    ("mountinfo", "controllers", "version"),
    [
        pytest.param(V1, "", "v1", id="v1 alone"),
        pytest.param(V1 + BESIDE, "", "hybrid", id="v1 with an empty v2 beside it"),
        pytest.param(V2, "cpu memory pids", "v2", id="v2 alone"),
        pytest.param(V1.splitlines()[4] + "\n" + BESIDE, "memory", "v2", id="v2 beside systemd's own named hierarchy"),
        pytest.param("", "", "none", id="nothing mounted"),
    ],
)
def test_the_shape_of_the_hierarchies_is_told_from_the_mounts(mountinfo: str, controllers: str, version: str) -> None:
    assert detected(mountinfo, controllers).version == version


def test_controllers_mounted_together_share_a_folder_and_a_missing_one_has_none() -> None:
    found = detected(V1)
    assert found.folder("cpuacct", "/a/b") == "/sys/fs/cgroup/cpu,cpuacct/a/b"
    assert found.folder("cpu", "/a/b") == "/sys/fs/cgroup/cpu,cpuacct/a/b"
    assert found.folder("blkio", "/a/b") is None
    assert found.mounts() == [f"/sys/fs/cgroup/{n}" for n in ("cpu,cpuacct", "memory", "pids", "systemd")]


def test_on_v2_only_enabled_controllers_have_a_folder() -> None:
    found = detected(V2, "cpu io pids\n")
    assert found.folder("cpuacct", "/a") == "/sys/fs/cgroup/a"
    assert found.folder("blkio", "/a") == "/sys/fs/cgroup/a"
    assert found.folder("memory", "/a") is None  # cgroup_disable=memory


def test_a_controller_that_v2_holds_on_a_mixed_host_is_found_there() -> None:
    found = detected(V1 + BESIDE, "io")
    assert found.folder("blkio", "/a") == "/sys/fs/cgroup/unified/a"
    assert (found.is_v2("blkio"), found.is_v2("memory")) == (True, False)


def test_mount_points_are_unescaped_and_nonsense_is_skipped() -> None:
    assert detected(ODD).folder("memory", "/a") == "/mnt/with space/a"
