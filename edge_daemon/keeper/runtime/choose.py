"""Which OCI runtime this host uses."""

from __future__ import annotations

from typing import NamedTuple

from edge_daemon.keeper.runtime import programs
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies

AUTO = "auto"


class Chosen(NamedTuple):
    """A runtime: runc or crun, and where it is."""

    kind: str
    path: str


def choose(wanted: str, hierarchies: Hierarchies) -> Chosen:
    """The runtime `wanted` (auto, runc, crun or an absolute path), if it can work here.

    crun refuses a host with v1 controllers and a v2 mount beside them, so there runc is taken; elsewhere crun is
    preferred, for it starts faster.
    """
    if wanted in (AUTO, ""):
        order = ("runc",) if hierarchies.version == "hybrid" else ("crun", "runc")
        for kind in order:
            if (path := programs.locate(kind)) is not None:
                return Chosen(kind, path)
        names = " or ".join(order)
        raise RuntimeFailedError(
            f"no container runtime is installed ({names})", hint=f"install the package {order[-1]}"
        )
    path = programs.locate(wanted)
    if path is None:
        raise RuntimeFailedError(f"the container runtime {wanted} is not installed")
    kind = "crun" if "crun" in path.rpartition("/")[2] else "runc"
    if kind == "crun" and hierarchies.version == "hybrid":
        raise RuntimeFailedError(
            f"crun does not run with hybrid cgroups: version 2 is mounted on {hierarchies.unified} beside version 1",
            hint="use --runtime runc, or boot the host with cgroup version 2 alone",
        )
    return Chosen(kind, path)
