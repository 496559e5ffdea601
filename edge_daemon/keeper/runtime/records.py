"""What stands in a container's run directory, and what can be told from it. Adoption is reading this.

    containers/<app>.<service>/
        meta.json      Meta: written before anything is made, completed once the container runs
        config.json    the checked copy of the sealed OCI configuration; pidfile, conmon.pid, runtime.log beside it
        exit/<id>      the exit code, by conmon; persist/oom: the kernel killed something in it
        network.json   its place in the app's network, while it has one
        lower/ scratch/ rootfs/ sys/   mounts

The run directory is emptied by a reboot, or stale after one: a record of another boot is nobody's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NotRequired, TypedDict

from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.runtime import processes, readings
from edge_daemon.keeper.runtime.hierarchies import Hierarchies

KILLED = 128 + 9


class Meta(TypedDict):
    """meta.json. `pid` is None until the container was created."""

    app: str
    service: str
    revision: str
    boot_id: str
    pid: int | None
    start_ticks: int | None
    started_at: float | None
    conmon_pid: int | None
    conmon_ticks: int | None
    seal: NotRequired[str]  # of the revision: what its hooks are read from must still have it


def read_meta(folder: str) -> Meta | None:
    """The record of one container; None if there is none that can be read."""
    try:
        with open(f"{folder}/meta.json", encoding="utf-8") as file:
            meta: Meta = json.load(file)
    except (OSError, ValueError):
        return None
    return meta


def write_meta(folder: str, meta: Meta) -> None:
    """Replace the record in one step: the keeper may be reading it. No disk is waited for: it is of this boot."""
    from fleet_protocol.wire.durable import replace_for_this_boot  # the starter writes; the keeper only reads

    replace_for_this_boot(Path(folder) / "meta.json", json.dumps(meta).encode())


def write_new(path: str, data: bytes) -> None:
    """Write a file of this boot that nobody reads yet, or that is read under a lock."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)


def read_exit(folder: str, name: str) -> tuple[int, float] | None:
    """(exit code, when) as conmon wrote it down, or None."""
    path = f"{folder}/exit/{name}"
    try:
        with open(path, encoding="ascii") as file:
            code = readings.number(file.read())
        return None if code is None else (code, os.stat(path).st_mtime)
    except OSError:
        return None


def look(folder: str, meta: Meta, hierarchies: Hierarchies, group: str) -> tuple[Seen, bool]:
    """What is to be seen of one container, and whether its end is still being written down by conmon."""
    name = f"{meta['app']}.{meta['service']}"
    started = meta["started_at"] is not None  # one that was made but never started runs nothing: start it again
    runs = started and processes.lives(meta["pid"], meta["start_ticks"])
    end = None if runs else read_exit(folder, name)
    settling = started and not runs and end is None and processes.lives(meta["conmon_pid"], meta["conmon_ticks"])
    seen = Seen(
        app=meta["app"],
        service=meta["service"],
        revision=meta["revision"],
        pid=meta["pid"] if runs else None,
        started_at=meta["started_at"],
        start_ticks=meta["start_ticks"],
        exit_code=end[0] if end else None,
        ended_at=end[1] if end else None,
        seal=meta.get("seal", ""),
        oom_killed=_in_part(folder, hierarchies, group)
        if runs
        else end is not None and end[0] == KILLED and _out_of_memory(folder, hierarchies, group),
    )
    return seen, settling


def _in_part(folder: str, hierarchies: Hierarchies, group: str) -> bool:
    """Whether the kernel killed something in a container that runs on. v2 kills all of it, and cannot be asked that."""
    return not hierarchies.is_v2("memory") and _noted(folder, hierarchies, group)


def _noted(folder: str, hierarchies: Hierarchies, group: str) -> bool:
    """Conmon's note, unless the group's count says that it was another container that ran into the app's total."""
    return os.path.exists(f"{folder}/persist/oom") and readings.usage(hierarchies, group).oom_kills != 0


def _out_of_memory(folder: str, hierarchies: Hierarchies, group: str) -> bool:
    """Whether the kernel killed in it for memory: conmon's note, or the group's count, which outlives the process."""
    if _noted(folder, hierarchies, group):
        return True
    return bool(readings.usage(hierarchies, group).oom_kills)
