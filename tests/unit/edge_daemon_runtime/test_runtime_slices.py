"""Which group the containers stand in, by driver. That systemd leaves it alone is seen in the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_daemon.keeper.runtime import slices
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies

V1 = Hierarchies("v1", {"memory": "/sys/fs/cgroup/memory"}, None, frozenset())
V2 = Hierarchies("v2", {}, "/nowhere", frozenset({"memory"}))


@pytest.mark.parametrize(
    ("wanted", "group"),
    [
        ("/roadstead", "/roadstead.slice/roadstead-apps.slice/roadstead-containers.service"),
        ("/edge/one", "/edge.slice/edge-one.slice/edge-one-apps.slice/edge-one-containers.service"),
    ],
)
def test_the_unit_stands_in_the_slice_where_systemd_puts_it(wanted: str, group: str) -> None:
    found, unit, slice_ = slices.names(wanted)
    assert found == group
    assert found.endswith(f"/{slice_}/{unit}")


@pytest.mark.parametrize(
    ("driver", "found", "booted"),
    [("cgroupfs", V2, True), ("auto", V1, True), ("auto", V2, False)],
)
def test_the_group_is_made_beside_the_inits_own_where_systemd_cannot_hand_one_over(
    tmp_path: Path, driver: str, found: Hierarchies, booted: bool
) -> None:
    assert slices.parent(driver, "/roadstead", found, str(tmp_path if booted else tmp_path / "no")) == "/roadstead"


@pytest.mark.parametrize(("found", "booted"), [(V1, True), (V2, False)])
def test_systemd_that_is_asked_for_and_not_there_is_refused(tmp_path: Path, found: Hierarchies, booted: bool) -> None:
    with pytest.raises(RuntimeFailedError, match="needs systemd as PID 1 and cgroup version 2") as caught:
        slices.parent("systemd", "/roadstead", found, str(tmp_path if booted else tmp_path / "no"))
    assert caught.value.hint == "--cgroup-driver cgroupfs"


def test_a_unit_that_is_held_already_is_taken_as_it_is(tmp_path: Path) -> None:
    group = slices.names("/roadstead")[0]
    holder = tmp_path / group.strip("/") / slices.HOLDER
    holder.mkdir(parents=True)
    (holder / "cgroup.procs").write_text("17\n")
    found = V2._replace(unified=str(tmp_path))
    assert slices.parent("auto", "/roadstead", found, str(tmp_path)) == group
