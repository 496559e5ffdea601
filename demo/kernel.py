"""The demo's own reading of the kernel's control group files, so that the product is not asked about itself."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def mode() -> str:
    """`v2`, `hybrid` or `v1`."""
    if (ROOT / "cgroup.controllers").exists():
        return "v2"
    return "hybrid" if (ROOT / "unified").is_dir() else "v1"


def limits_of(group: str) -> tuple[int, int, int, int]:
    """Memory in bytes, swap alone in bytes, cpu in thousandths of a core, number of processes."""
    if mode() == "v2":
        folder = ROOT / group
        quota, period = (folder / "cpu.max").read_text().split()
        swap = _number(folder / "memory.swap.max")
        return _number(folder / "memory.max"), swap, int(quota) * 1000 // int(period), _number(folder / "pids.max")
    memory = _number(ROOT / "memory" / group / "memory.limit_in_bytes")
    both = _number(ROOT / "memory" / group / "memory.memsw.limit_in_bytes")
    quota_us = _number(ROOT / "cpu" / group / "cpu.cfs_quota_us")
    period_us = _number(ROOT / "cpu" / group / "cpu.cfs_period_us")
    return memory, both - memory, quota_us * 1000 // period_us, _number(ROOT / "pids" / group / "pids.max")


def _number(path: Path) -> int:
    return int(path.read_text())
