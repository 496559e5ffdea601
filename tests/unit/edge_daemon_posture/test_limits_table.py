"""The table of limits says what the code does: every live limit is written to the file that it names, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from edge_daemon.keeper.runtime import disk_rates, groups
from edge_daemon.keeper.runtime.hierarchies import Hierarchies
from edge_daemon.posture.limits import TABLE, Kept, Limit, Means
from edge_daemon.prepare import oci
from edge_daemon.prepare.host import Host
from edge_daemon.sealed import LimitValues, TotalValues
from fleet_protocol.documents.release import Limits, Total, Volume

OLD: LimitValues = {"memory_bytes": 64 << 20, "cpu_millis": 500, "cpu_weight": 100, "pids": 32, "nofile": 256}
NEW: LimitValues = {
    "memory_bytes": 96 << 20, "memory_high_bytes": 80 << 20, "cpu_millis": 250, "cpu_weight": 50, "cpuset": "0",
    "pids": 8, "nofile": 128, "io_read_bps": 1000, "io_write_bps": 2000,
    "io_read_iops": 30, "io_write_iops": 40,
}  # fmt: skip
V1 = {name: f"/{name}" for name in ("memory", "cpu", "cpuset", "pids", "blkio", "devices")}
V2_CONTROLLERS = frozenset({"memory", "cpu", "cpuset", "pids", "io"})


def kept(limit: Limit, version: str) -> Kept:
    return limit.v2 if version == "v2" else limit.v1


def world(base: Path, version: str) -> Hierarchies:
    """Control files as the kernel shows them to a container of OLD."""
    if version == "v2":
        found = Hierarchies("v2", {}, str(base), V2_CONTROLLERS)
        starting = {"memory.max": "67108864\n", "memory.high": "max\n", "memory.current": "4096\n"}
    else:
        found = Hierarchies("v1", {name: str(base / name) for name in V1}, None, frozenset())
        starting = {"memory.limit_in_bytes": "67108864\n", "memory.memsw.limit_in_bytes": "67108864\n"}
    for limit in TABLE.values():
        one = kept(limit, version)
        if one.controller and "." in one.file:
            folder = Path(found.folder(one.controller, "/g") or "")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / one.file).write_text(starting.get(one.file, "untouched\n" if one.file != "io.max" else ""))
    for name in ("memory.current", "memory.high") if version == "v2" else ("cpu.cfs_period_us",):
        folder = Path(found.folder(name.split(".")[0], "/g") or "")
        (folder / name).write_text(starting.get(name, "100000\n"))
    for file in base.rglob("blkio.throttle.*"):
        file.write_text("")
    return found


def contents(base: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in base.rglob("*") if path.is_file()}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_live_change_writes_the_files_of_live_limits_and_no_others(tmp_path: Path, version: str) -> None:
    found = world(tmp_path, version)
    before = contents(tmp_path)

    groups.apply(found, "/g", NEW)
    disk_rates.apply(found, "/g", {"8:0": disk_rates.Rate(1000, 2000, 30, 40)})

    written = {name for name, text in contents(tmp_path).items() if text != before[name]}
    live = {kept(limit, version).file for limit in TABLE.values() if limit.live} - {""}
    assert written - {"cpu.cfs_period_us"} == live


def test_every_limit_of_a_release_has_a_row_and_every_row_a_limit() -> None:
    fields = {limit.field for limit in TABLE.values() if limit.field}
    totals = {f"total.{name}" for name in Total.model_fields}
    assert fields == set(Limits.model_fields) | totals | {"volumes.quota_bytes"}
    assert "quota_bytes" in Volume.model_fields
    assert set(get_type_hints(LimitValues)) == set(Limits.model_fields)
    assert set(get_type_hints(TotalValues)) == set(Total.model_fields)


@pytest.mark.parametrize("unified", [True, False])
def test_a_limit_is_told_to_the_runtime_unless_the_table_calls_it_absent(unified: bool) -> None:
    host = Host(("linux/amd64",), unified, 1 << 20, 4, "", (8, 0), "")
    for name, limit in TABLE.items():
        one = kept(limit, "v2" if unified else "v1")
        if limit.field in ("", "nofile") or "." in limit.field:
            continue
        with_it = oci.resources(Limits.model_validate({**OLD, limit.field: NEW[limit.field]}), (), host)  # type: ignore[literal-required]
        without: dict[str, Any] = oci.resources(Limits.model_validate(OLD), (), host)
        assert (json.dumps(with_it) == json.dumps(without)) == (one.means is Means.ABSENT), name


def test_rates_are_read_from_the_configuration_and_taken_back(tmp_path: Path) -> None:
    limits = Limits.model_validate({**OLD, "io_read_bps": 1000})
    rates = disk_rates.of(oci.resources(limits, (), Host(("linux/amd64",), True, 1 << 20, 4, "", (8, 16), "")))
    assert rates == {"8:16": disk_rates.Rate(read_bps=1000)}
    found = world(tmp_path, "v1")
    disk_rates.apply(found, "/g", rates)
    assert contents(tmp_path)["blkio.throttle.read_bps_device"] == "8:16 1000"
    disk_rates.apply(found, "/g", {})
    assert contents(tmp_path)["blkio.throttle.read_bps_device"].startswith("8:16 0")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_apps_total_is_written_to_the_files_of_its_rows_and_taken_away_again(tmp_path: Path, version: str) -> None:
    found = world(tmp_path, version)
    rows = [limit for limit in TABLE.values() if limit.field.startswith("total.")]
    before = contents(tmp_path)
    groups.apply_total(found, "/g", {"memory_bytes": 96 << 20, "cpu_millis": 250, "pids": 8})
    after = contents(tmp_path)
    assert {kept(limit, version).file for limit in rows} <= {name for name in after if after[name] != before[name]}
    groups.apply_total(found, "/g", {})
    free = contents(tmp_path)
    said = [free[kept(limit, version).file][: len(after[kept(limit, version).file])] for limit in rows]
    assert [text.startswith(("max", "-1")) for text in said] == [True, True, True]


def test_operations_a_second_are_limited_beside_bytes(tmp_path: Path) -> None:
    found = world(tmp_path, "v2")
    disk_rates.apply(found, "/g", {"8:0": disk_rates.Rate(read_iops=30, write_bps=5)})
    assert contents(tmp_path)["io.max"] == "8:0 rbps=max wbps=5 riops=30 wiops=max"


def test_on_v2_too_much_memory_is_refused_before_the_kernel_would_kill(tmp_path: Path) -> None:
    found = world(tmp_path, "v2")
    (tmp_path / "g" / "memory.current").write_text(f"{60 << 20}\n")
    with pytest.raises(groups.RuntimeFailedError, match="holds 61440 KiB of memory and cannot give back"):
        groups.apply(found, "/g", {**OLD, "memory_bytes": 32 << 20})
    after = contents(tmp_path)
    assert (after["memory.max"], after["memory.high"][:3]) == ("67108864\n", "max")
