"""conmon and the OCI runtime: create, start, delete. Starter only.

conmon owns the container's output and exit code from then on, so that whoever started it may die.
"""

from __future__ import annotations

import json
import os
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge_daemon.keeper.runtime import programs
from edge_daemon.keeper.runtime.choose import Chosen
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from fleet_protocol.wire.durable import rename_durably

CREATE_SECONDS = 20.0
LEAST_LOG_BYTES = 16 * 1024


class Place(NamedTuple):
    """Where one container's files are."""

    name: str  # <app>.<service>: the runtime's id
    folder: str  # bundle and everything else
    runtime_root: str
    log: str


class Creating:
    """A container that is being made. Other things can be made meanwhile; `finish` must be called."""

    def __init__(self, place: Place, chosen: Chosen, log_bytes: int) -> None:
        folder = self._folder = place.folder
        self._kind = chosen.kind
        for name in ("exit", "persist", "socket"):
            os.mkdir(f"{folder}/{name}", 0o700)
        argv = [
            programs.find("conmon"), "--api-version", "1", "-c", place.name, "-u", place.name, "-n", place.name,
            "-r", chosen.path, "-b", folder, "-p", f"{folder}/pidfile", "--conmon-pidfile", f"{folder}/conmon.pid",
            "--exit-dir", f"{folder}/exit", "--persist-dir", f"{folder}/persist",
            "--socket-dir-path", f"{folder}/socket",
            "-l", f"k8s-file:{place.log}", "--log-size-max", str(run_log_bytes(log_bytes)),
            "--runtime-arg", f"--root={place.runtime_root}", "--runtime-arg", f"--log={folder}/runtime.log",
            "--runtime-arg", "--log-format=json",
        ]  # fmt: skip
        self._pipe, writing = os.pipe()
        os.set_inheritable(writing, True)
        try:
            self._running = programs.Program(argv, environment={"_OCI_SYNCPIPE": str(writing)}, seconds=CREATE_SECONDS)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(writing)

    def finish(self) -> int:
        """Wait until it is made, not yet started. Returns the pid of its first process."""
        try:
            answer = _answer(self._pipe)
        finally:
            os.close(self._pipe)
            done = self._running.finish()  # conmon's first process ends as soon as it has gone to the background
        pid = answer.get("pid", answer.get("data"))
        if isinstance(pid, int) and pid > 0:
            return pid
        reason = last_cause(self._folder) or _short(answer.get("message")) or done.words()
        raise RuntimeFailedError(f"{self._kind} could not make the container: {reason}")


def run_log_bytes(log_bytes: int) -> int:
    """What one run may write before conmon truncates: half, for the run before keeps its last half."""
    return max(LEAST_LOG_BYTES, log_bytes // 2)


def _answer(reading: int) -> dict[str, object]:
    """Conmon's one line on the sync pipe: {"data": pid} or {"data": -1, "message": ...}; {} if it ended without one."""
    poll = select.poll()
    poll.register(reading, select.POLLIN | select.POLLHUP)
    data, deadline = b"", time.monotonic() + CREATE_SECONDS
    while b"\n" not in data:
        if not poll.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            raise RuntimeFailedError(f"conmon did not answer within {CREATE_SECONDS:.0f} s", retry=True)
        chunk = os.read(reading, 65536)
        if not chunk:
            break
        data += chunk
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def start(place: Place, chosen: Chosen) -> None:
    """Let the created container run."""
    done = programs.run(_runtime(place, chosen, "start"))
    if done.status != 0:
        reason = last_cause(place.folder) or done.words()
        raise RuntimeFailedError(f"{chosen.kind} could not start the container: {reason}")


def delete(place: Place, chosen: Chosen) -> None:
    """Take away what the runtime keeps of a container that has ended; by force only if it says that it has not."""
    if not os.path.isdir(f"{place.runtime_root}/{place.name}"):
        return
    done = programs.run(_runtime(place, chosen, "delete"))
    if done.status != 0:
        done = programs.run([*_runtime(place, chosen, "delete")[:-1], "--force", place.name], seconds=20.0)
    if done.status != 0:
        raise RuntimeFailedError(f"{chosen.kind} could not delete the container: {done.words()}", retry=True)


def _runtime(place: Place, chosen: Chosen, verb: str) -> list[str]:
    log = [f"--log={place.folder}/runtime.log", "--log-format=json"]
    return [chosen.path, f"--root={place.runtime_root}", *log, verb, place.name]


def rotate_log(log: str, log_bytes: int) -> None:
    """Keep what earlier runs said: a log that has used half of its room becomes ctr.log.1."""
    with suppress(FileNotFoundError):
        if os.stat(log).st_size > run_log_bytes(log_bytes) // 2:
            rename_durably(Path(log), Path(f"{log}.1"))


def last_cause(folder: str) -> str:
    """The last error in runtime.log: the sync pipe often holds only that there was one."""
    try:
        with open(f"{folder}/runtime.log", encoding="utf-8", errors="replace") as file:
            lines = file.read(256 * 1024).splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            return _short(entry.get("msg"))
    return ""


def _short(message: object) -> str:
    """One line; runc wraps every cause in `unable to start container process: error during container init:`."""
    text = " ".join(str(message or "").split())
    for noise in ("runc create failed: ", "unable to start container process: ", "error during container init: "):
        text = text.replace(noise, "")
    return text[:300]
