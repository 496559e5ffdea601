"""A change of limits alone: which revisions differ by nothing else, and what changed, in words. Pure.

Rules: everything that a revision says is compared, but its name, its release and the limits that the kernel changes
under a running process; config.json is compared by the hash that prepare made of all the rest of it. What an older
prepare did not hash cannot be told, and is replaced.
"""

from __future__ import annotations

import re
from typing import Any

from edge_daemon.sealed import LimitValues, Revision, TotalValues

_CONFIG = re.compile(r"services/[^/]+/config\.json")
NAMES = frozenset({"release", "release_sha256", "revision", "services", "files", "total"})


def limits_only(old: Revision, new: Revision) -> dict[str, LimitValues] | None:
    """The limits of every service of `new` when a running container of `old` needs nothing else to be one of `new`."""
    if _rest(old) != _rest(new) or _files(old) != _files(new):
        return None
    before, after = ({s["name"]: s for s in revision["services"]} for revision in (old, new))
    if before.keys() != after.keys():
        return None
    for name, service in after.items():
        one, other = dict(before[name]), dict(service)
        if "runtime_sha256" not in other:
            return None
        del one["limits"], other["limits"]
        if one != other:
            return None
    return {name: service["limits"] for name, service in after.items()}


def words(old: LimitValues | TotalValues, new: LimitValues | TotalValues, whose: str = "") -> str:
    """What changed, for people; "" when nothing did."""
    before, after = (dict[str, Any](limits) for limits in (old, new))
    return ", ".join(
        f"{whose}{_SAID.get(key, (key, str))[0]} {_show(key, before.get(key))} -> {_show(key, after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def of_service(revision: Revision, service: str) -> LimitValues | None:
    """The limits of one service."""
    return next((s["limits"] for s in revision["services"] if s["name"] == service), None)


def _rest(revision: Revision) -> dict[str, Any]:
    return {key: value for key, value in revision.items() if key not in NAMES}


def _files(revision: Revision) -> dict[str, str]:
    return {path: digest for path, digest in revision["files"].items() if not _CONFIG.fullmatch(path)}


def _show(key: str, value: Any) -> str:
    return "none" if value is None else str(_SAID.get(key, (key, str))[1](value))


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def _cores(millis: int) -> str:
    return f"{millis / 1000:g}"


_SAID: dict[str, tuple[str, Any]] = {
    "memory_bytes": ("memory", _size),
    "memory_high_bytes": ("memory high", _size),
    "cpu_millis": ("cpus", _cores),
    "cpu_weight": ("cpu weight", str),
    "cpuset": ("cores", str),
    "pids": ("processes", str),
    "nofile": ("open files", str),
    "io_read_bps": ("bytes read a second", str),
    "io_write_bps": ("bytes written a second", str),
    "io_read_iops": ("reads a second", str),
    "io_write_iops": ("writes a second", str),
}
