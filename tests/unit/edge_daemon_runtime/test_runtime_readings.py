from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_daemon.keeper.ports import EnforcedLimits, Usage
from edge_daemon.keeper.runtime import groups, readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies
from edge_daemon.sealed import LimitValues

LIMITS: LimitValues = {"memory_bytes": 64 << 20, "cpu_millis": 250, "cpu_weight": 200, "pids": 10, "nofile": 64}
V2_FILES = {
    "memory.current": "4096\n", "memory.peak": "8192\n", "memory.max": "67108864\n", "memory.swap.max": "0\n",
    "memory.stat": "anon 1024\nfile 3072\nanon_thp 9\n",
    "memory.high": "max\n", "memory.oom.group": "0\n", "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
    "cpu.max": "25000 100000\n", "cpu.weight": "100\n", "cpu.stat": "usage_usec 1500\nthrottled_usec 7\n",
    "pids.current": "3\n", "pids.max": "10\n", "cpuset.cpus": "\n",
}  # fmt: skip
V1_FILES = {
    "memory/memory.stat": "cache 1\nrss 512\ntotal_cache 3072\ntotal_rss 1024\n",
    "memory/memory.usage_in_bytes": "4096\n", "memory/memory.max_usage_in_bytes": "8192\n",
    "memory/memory.limit_in_bytes": "67108864\n", "memory/memory.memsw.limit_in_bytes": "67108864\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n", "cpu/cpu.shares": "1024\n",
    "cpu/cpu.stat": "nr_periods 4\nnr_throttled 1\nthrottled_time 7999\n", "cpuacct/cpuacct.usage": "1500999\n",
    "pids/pids.current": "3\n", "pids/pids.max": "10\n",
}  # fmt: skip
USAGE = Usage(4096, 8192, 1500, 7, 3, 2, memory_anon_bytes=1024)
ENFORCED = EnforcedLimits(64 << 20, 0, 250, 10)


def v2(root: Path, *, without: tuple[str, ...] = ()) -> Hierarchies:
    (root / "g").mkdir()
    for name, text in V2_FILES.items():
        if not name.startswith(without):
            (root / "g" / name).write_text(text)
    controllers = {"memory", "cpu", "pids", "cpuset"} - set(without)
    return Hierarchies("v2", {}, str(root), frozenset(controllers))


def v1(root: Path, *, without: tuple[str, ...] = ()) -> Hierarchies:
    for name, text in V1_FILES.items():
        controller, file = name.split("/")
        if controller not in without:
            (root / controller / "g").mkdir(parents=True, exist_ok=True)
            (root / controller / "g" / file).write_text(text)
    return Hierarchies("v1", {p.name: str(p) for p in root.iterdir()}, None, frozenset())


@pytest.mark.parametrize("make", [v1, v2])
def test_both_versions_say_the_same_in_their_own_files(tmp_path: Path, make: Callable[[Path], Hierarchies]) -> None:
    found = make(tmp_path)
    assert readings.usage(found, "/g") == USAGE
    assert readings.limits(found, "/g") == ENFORCED


def test_without_the_memory_controller_its_numbers_are_absent_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for found in (v1(tmp_path / "one", without=("memory",)), v2(tmp_path / "two", without=("memory",))):
        assert readings.usage(found, "/g") == USAGE._replace(
            memory_bytes=None, memory_peak_bytes=None, oom_kills=None, memory_anon_bytes=None
        )
        assert readings.limits(found, "/g") == ENFORCED._replace(memory_bytes=None, swap_bytes=None)
        with pytest.raises(RuntimeFailedError, match="this kernel has no memory controller"):
            groups.apply(found, "/g", LIMITS)


def test_without_swap_accounting_the_limit_of_swap_is_unknown(tmp_path: Path) -> None:
    found = v1(tmp_path)
    (tmp_path / "memory/g/memory.memsw.limit_in_bytes").unlink()
    assert readings.limits(found, "/g") == ENFORCED._replace(swap_bytes=None)


@pytest.mark.parametrize(
    ("file", "text", "field"),
    [
        pytest.param("memory.max", "max\n", "memory_bytes", id="unlimited memory"),
        pytest.param("memory.swap.max", "max\n", "swap_bytes", id="unlimited swap"),
        pytest.param("cpu.max", "max 100000\n", "cpu_millis", id="no quota"),
        pytest.param("cpu.max", "25000 0\n", "cpu_millis", id="a period of zero"),
        pytest.param("pids.max", "max\n", "pids", id="unlimited processes"),
        pytest.param("pids.max", "what\n", "pids", id="no number"),
    ],
)
def test_unlimited_is_absent_and_never_a_number_on_v2(tmp_path: Path, file: str, text: str, field: str) -> None:
    found = v2(tmp_path)
    (tmp_path / "g" / file).write_text(text)
    assert readings.limits(found, "/g") == ENFORCED._replace(**{field: None})


def test_unlimited_is_absent_and_never_a_number_on_v1(tmp_path: Path) -> None:
    found = v1(tmp_path)
    for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        (tmp_path / "memory/g" / file).write_text("9223372036854771712\n")
    (tmp_path / "cpu/g/cpu.cfs_quota_us").write_text("-1\n")
    assert readings.limits(found, "/g") == EnforcedLimits(None, None, None, 10)


def test_applying_on_v2_writes_what_the_kernel_then_enforces(tmp_path: Path) -> None:
    found = v2(tmp_path)
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):
        (tmp_path / "g" / name).write_text("")
    groups.apply(found, "/g", {**LIMITS, "memory_high_bytes": 1 << 20, "cpuset": "0-1"})
    read = {n: (tmp_path / "g" / n).read_text().split("\n")[0] for n in ("memory.high", "cpu.weight", "cpuset.cpus")}
    assert read == {"memory.high": "1048576", "cpu.weight": "200", "cpuset.cpus": "0-1"}
    assert readings.limits(found, "/g") == ENFORCED


def test_on_v2_the_whole_container_goes_when_memory_runs_out(tmp_path: Path) -> None:
    groups.harden(v2(tmp_path), "/g", LIMITS)
    assert (tmp_path / "g/memory.oom.group").read_text() == "1\n"
    assert (tmp_path / "g/memory.swap.max").read_text() == "0\n"


def test_on_v1_there_is_nothing_to_add(tmp_path: Path) -> None:
    before = {p: p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    groups.harden(v1(tmp_path), "/g", LIMITS)
    assert {p: p.read_text() for p in before} == before


def test_on_v2_a_group_is_made_below_parents_that_hand_their_controllers_down(tmp_path: Path) -> None:
    for folder in ("", "parent", "parent/apps"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cgroup.controllers").write_text("memory pids hugetlb\n")
        (tmp_path / folder / "cgroup.subtree_control").write_text("pids\n")
    groups.make(Hierarchies("v2", {}, str(tmp_path), frozenset({"memory", "pids"})), "/parent/apps", leaf=True)
    assert (tmp_path / "cgroup.subtree_control").read_text().startswith("+memory")
    assert (tmp_path / "parent/cgroup.subtree_control").read_text().startswith("+memory")
    assert (tmp_path / "parent/apps/cgroup.subtree_control").read_text() == "pids\n"  # a leaf keeps its controllers


def test_a_host_without_cgroups_is_told_so() -> None:
    with pytest.raises(RuntimeFailedError, match="no cgroup hierarchy is mounted"):
        groups.make(Hierarchies("none", {}, None, frozenset()), "/g", leaf=True)


PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={0}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"


def pressed(group: Path) -> None:
    for total, name in enumerate(("cpu", "memory", "io"), start=11):
        (group / f"{name}.pressure").write_text(PRESSURE.format(total))


def test_pressure_is_read_where_the_kernel_counts_it(tmp_path: Path) -> None:
    found = v2(tmp_path)
    pressed(tmp_path / "g")
    read = readings.usage(found, "/g")
    assert (read.cpu_stalled_usec, read.memory_stalled_usec, read.io_stalled_usec) == (11, 12, 13)


def test_on_a_hybrid_host_pressure_stands_in_the_other_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "unified/g").mkdir(parents=True)
    pressed(tmp_path / "unified/g")
    found = v1(tmp_path / "v1")._replace(unified=str(tmp_path / "unified"))
    assert readings.usage(found, "/g").memory_stalled_usec == 12
    assert readings.usage(found._replace(unified=None), "/g").memory_stalled_usec is None


def test_bytes_of_all_disks_are_added_up_on_both_versions(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    newer = v2(tmp_path / "one")._replace(unified_controllers=frozenset({"io"}))
    (tmp_path / "one/g/io.stat").write_text(
        "8:0 rbytes=5 wbytes=7 rios=1 wios=1 dbytes=9\n8:16 rbytes=1 wbytes=0\n7:0\n"
    )
    used = readings.usage(newer, "/g")
    assert (used.io_read_bytes, used.io_write_bytes) == (6, 7)
    folder = tmp_path / "two/blkio/g"
    folder.mkdir(parents=True)
    text = "8:0 Read 5\n8:0 Write 7\n8:0 Total 12\n8:16 Read 1\n8:16 Total 1\nTotal 13\n"
    (folder / "blkio.throttle.io_service_bytes_recursive").write_text(text)
    older = v1(tmp_path / "two")
    used = readings.usage(older, "/g")
    assert (used.io_read_bytes, used.io_write_bytes) == (6, 7)


def test_the_loopback_interface_is_no_use_of_the_network() -> None:
    text = (
        "Inter-|   Receive                |  Transmit\n face |bytes    packets errs|bytes packets\n"
        "    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n  eth0:  7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n"
    )
    assert readings.network(text) == (7, 9)
    assert readings.network(None) == (None, None)
