"""Driver `systemd`: the containers' groups stand in a unit that systemd has handed over, so that it leaves them alone.

A slice cannot be handed over, a service in it can: `roadstead-containers.service` in `roadstead-apps.slice`, made here
when it is not there, with `Delegate=yes`. It is not the daemon's own unit: that one comes and goes, and systemd would
not start it again in a group that has groups below it. A process that only sleeps holds the unit, in a leaf of its own.
"""

from __future__ import annotations

import os

from edge_daemon.keeper.runtime import groups, programs, readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies, detect

DRIVERS = ("auto", "cgroupfs", "systemd")
RUNNING = "/run/systemd/system"  # there if systemd is PID 1
HOLDER = "holder"
PROPERTIES = ("Delegate=yes", "OOMPolicy=continue", "TasksMax=infinity", "KillMode=mixed")
START_SECONDS = 20.0


def parent(driver: str, wanted: str, hierarchies: Hierarchies | None = None, running: str = RUNNING) -> str:
    """The group of all containers; with systemd, that of a unit which is there afterwards. Raises RuntimeFailedError.

    `auto` takes systemd where it is PID 1 and cgroups are version 2. In version 1 it hands nothing over: there, and
    under any other init, the groups are made beside its own.
    """
    found = hierarchies or detect()
    can = os.path.isdir(running) and found.version == "v2"
    if driver == "cgroupfs" or (driver == "auto" and not can):
        return wanted
    if driver not in DRIVERS:
        raise RuntimeFailedError(f"{driver!r} is not a cgroup driver", hint=f"one of {', '.join(DRIVERS)}")
    if not can:
        raise RuntimeFailedError(
            "the cgroup driver systemd needs systemd as PID 1 and cgroup version 2", hint="--cgroup-driver cgroupfs"
        )
    group, unit, slice_ = names(wanted)
    folder = f"{found.unified}{group}"
    if not _members(f"{folder}/{HOLDER}"):
        _start(unit, slice_)
        _hold(folder)
    return group


def names(wanted: str) -> tuple[str, str, str]:
    """(group, unit, slice) for the group that another driver would make; a dash in a slice's name is a level."""
    stem = wanted.strip("/").replace("/", "-") or "roadstead"
    parts = f"{stem}-apps".split("-")
    levels = ["-".join(parts[: count + 1]) + ".slice" for count in range(len(parts))]
    unit = f"{stem}-containers.service"
    return "/" + "/".join([*levels, unit]), unit, levels[-1]


def _start(unit: str, slice_: str) -> None:
    properties = [word for name in PROPERTIES for word in ("--property", name)]
    words = ["--quiet", "--collect", "--service-type=exec", "--unit", unit, "--slice", slice_, *properties]
    description = "--description=Containers of Roadstead"
    done = programs.run(["systemd-run", *words, description, "sleep", "infinity"], seconds=START_SECONDS)
    if done.status != 0:
        raise RuntimeFailedError(f"systemd did not start {unit}: {done.words()}", hint=f"systemctl status {unit}")


def _hold(folder: str) -> None:
    """Move what holds the unit into a leaf, for a group that hands controllers down has no process of its own."""
    os.makedirs(f"{folder}/{HOLDER}", 0o755, exist_ok=True)
    for pid in _members(folder):
        groups.write(f"{folder}/{HOLDER}", "cgroup.procs", pid)


def _members(folder: str) -> list[str]:
    return (readings.Files(folder, v2=True).text("cgroup.procs") or "").split()
