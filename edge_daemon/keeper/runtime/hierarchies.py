"""Which cgroup hierarchies this host has, read from /proc/self/mountinfo.

Three shapes are met: v1 (a hierarchy for each controller), hybrid (v1 with an empty v2 beside it, what systemd calls
hybrid, and what some small systems mount by hand) and v2. Controllers are looked up one by one, so that a v2 mount that
holds some of them works, too. Nothing here writes.
"""

from __future__ import annotations

from typing import NamedTuple

V1_CONTROLLERS = frozenset(
    {
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
        "net_cls", "net_prio", "perf_event", "hugetlb", "rdma", "misc",
    }
)  # fmt: skip
V2_NAMES = {"blkio": "io", "cpuacct": "cpu"}  # the same thing under its v2 name


class Hierarchies(NamedTuple):
    """Mount points of the hierarchies; `version` is v1, hybrid, v2 or none."""

    version: str
    v1: dict[str, str]  # controller (or name=systemd) -> mount point
    unified: str | None
    unified_controllers: frozenset[str]

    def folder(self, controller: str, group: str) -> str | None:
        """The directory of `group` in the hierarchy that holds `controller`, or None if no hierarchy does."""
        if (mount := self.v1.get(controller)) is not None:
            return mount + group
        if self.is_v2(controller):
            return f"{self.unified}{group}"
        return None

    def is_v2(self, controller: str) -> bool:
        """Whether `controller` is managed by the unified hierarchy."""
        name = V2_NAMES.get(controller, controller)
        return controller not in self.v1 and self.unified is not None and name in self.unified_controllers

    def mounts(self) -> list[str]:
        """Every mount point once."""
        out = dict.fromkeys(self.v1.values())
        if self.unified is not None:
            out[self.unified] = None
        return list(out)


def detect(mountinfo: str = "/proc/self/mountinfo") -> Hierarchies:
    """Read the hierarchies that this process can see."""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        v1, unified = parse_mounts(file.read())
    controllers = ""
    if unified is not None:
        try:
            with open(f"{unified}/cgroup.controllers", encoding="ascii") as file:
                controllers = file.read()
        except OSError:
            pass  # a v2 mount without the file holds no controller
    return assemble(v1, unified, controllers)


def assemble(v1: dict[str, str], unified: str | None, controllers: str) -> Hierarchies:
    """Name the shape of what was found."""
    managed_by_v1 = any(name in V1_CONTROLLERS for name in v1)
    version = {(True, False): "v1", (True, True): "hybrid", (False, True): "v2", (False, False): "none"}
    return Hierarchies(version[managed_by_v1, unified is not None], v1, unified, frozenset(controllers.split()))


def parse_mounts(mountinfo: str) -> tuple[dict[str, str], str | None]:
    """(controller -> mount point, v2 mount point) from the text of mountinfo; the first mount of each counts."""
    v1: dict[str, str] = {}
    unified: str | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(tail) < 3:
            continue
        point = _unescaped(fields[4])
        if tail[0] == "cgroup2" and unified is None:
            unified = point
        elif tail[0] == "cgroup":
            for option in tail[2].split(","):
                if option in V1_CONTROLLERS or option.startswith("name="):
                    v1.setdefault(option, point)
    return v1, unified


def _unescaped(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
