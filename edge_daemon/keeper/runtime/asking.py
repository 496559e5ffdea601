"""Run a command of an app in its running container, bounded in time and output. Starter only; may block.

For probes and for hooks.

The command, its user, environment and limits come from the sealed revision, never from a command line. It runs with no
capability and can gain none; when its time is up it is ended with all of its process group. It does not take the
container's lock: starting and removing never wait for a probe.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_daemon.keeper.runtime import monitor, namespaces, processes, programs, records, sealcheck
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.monitor import Place
from edge_daemon.sealed import HookValues, SealedService
from fleet_protocol.wire.errors import inert

if TYPE_CHECKING:
    from edge_daemon.keeper.runtime.lifecycle import Host

MOST_SAID = 4096
LAST_SECONDS = 2.0  # for the runtime to notice that the command was ended
NO_CAPABILITIES: dict[str, list[str]] = {
    "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [],
}  # fmt: skip


class Answer(NamedTuple):
    """How the command ended; `status` is None when its time was up."""

    status: int | None
    said: str


def ask(host: Host, kind: str, app: str, service: str, revision: str, seal: str) -> Answer:
    """Run the command of its probe, or of its readiness, once. Raises RuntimeFailedError when it could not be asked."""
    element, place = f"{app}/{service}", host.place(app, service)
    checked = sealcheck.check(host.layout, app, service, revision, seal)
    probe = checked.service.get("readiness") if kind == "readiness" else checked.service.get("probe")
    if probe is None or not probe.get("exec_args"):
        raise RuntimeFailedError("its revision has no command to ask it with", element=element)
    meta = records.read_meta(place.folder)
    if meta is None or meta["revision"] != revision or not processes.lives(meta["pid"], meta["start_ticks"]):
        raise RuntimeFailedError("it does not run in this revision", element=element, retry=True)
    purpose = "readiness" if kind == "readiness" else "probes"
    return run_in(host, place, checked, probe["exec_args"], float(probe["timeout_s"]), purpose)


def hook(host: Host, app: str, service: str, revision: str, name: str) -> Answer:
    """Run a hook of the revision that the container was started in: its record says which seal that must have."""
    element, place = f"{app}/{service}", host.place(app, service)
    meta = records.read_meta(place.folder)
    if meta is None or meta["revision"] != revision or not processes.lives(meta["pid"], meta["start_ticks"]):
        raise RuntimeFailedError("it does not run in this revision", element=element, retry=True)
    checked = sealcheck.check(host.layout, app, service, revision, meta.get("seal", ""))
    values = hook_of(checked.service, name)
    if values is None:
        raise RuntimeFailedError(f"its revision has no hook {name}", element=element)
    return run_in(host, place, checked, values["exec_args"], float(values["timeout_s"]), f"hook-{name}", first=True)


def hook_of(service: SealedService, name: str) -> HookValues | None:
    """By its name in a command line."""
    hooks = service.get("hooks", {})
    match name:
        case "veto":
            return hooks.get("veto")
        case "pre-stop":
            return hooks.get("pre_stop")
        case "post-start":
            return hooks.get("post_start")
    return None


def run_in(
    host: Host,
    place: Place,
    checked: sealcheck.Checked,
    arguments: list[str],
    seconds: float,
    purpose: str = "probes",
    *,
    first: bool = False,
) -> Answer:
    """Run it once in the container; `first`: its first line of output is kept, not its last."""
    folder = f"{host.layout.run}/{purpose}/{place.name}"
    shutil.rmtree(folder, ignore_errors=True)  # of one that was cut short
    os.makedirs(folder, 0o700)
    try:
        process = process_of(checked.config, arguments)
        records.write_new(f"{folder}/process.json", json.dumps(process).encode())
        root = place.runtime_root
        entered: AbstractContextManager[None] = nullcontext()
        if host.chosen.kind == "runc" and checked.service["network"] != "host":
            root, entered = _state_without_network(place, folder), namespaces.inside(host.netns(place))
        argv = [
            host.chosen.path, f"--root={root}", f"--log={folder}/runtime.log", "--log-format=json",
            "exec", f"--process={folder}/process.json", f"--pid-file={folder}/pid", place.name,
        ]  # fmt: skip
        with entered:
            status, said = _run(argv, f"{folder}/pid", seconds)
        return Answer(status, (monitor.last_cause(folder) if status else "") or _words(said, first=first))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _state_without_network(place: Place, folder: str) -> str:
    """A copy of runc's state in which the container has no network namespace of its own: the directory it stands in.

    runc enters the user namespace first, and from there it may not enter a network namespace that the host made before
    it. So the command starts in that namespace already, and runc enters all others.
    """
    try:
        with open(f"{place.runtime_root}/{place.name}/state.json", encoding="utf-8") as file:
            state = json.load(file)
        kept = [one for one in state["config"]["namespaces"] if one["type"] != "NEWNET"]
        state["config"]["namespaces"] = kept
        state["namespace_paths"].pop("NEWNET", None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeFailedError(f"runc's record of the container cannot be read: {error}", retry=True) from error
    os.makedirs(f"{folder}/state/{place.name}", 0o700)
    records.write_new(f"{folder}/state/{place.name}/state.json", json.dumps(state).encode())
    return f"{folder}/state"


def process_of(config: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    """The container's own process, with other arguments and nothing that it could do beyond an ordinary user."""
    return {
        **config["process"],
        "args": arguments,
        "terminal": False,
        "capabilities": NO_CAPABILITIES,
        "noNewPrivileges": True,
    }


def _run(argv: list[str], pid_file: str, seconds: float) -> tuple[int | None, bytes]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    try:
        child = os.posix_spawn(
            argv[0], argv, programs.ENVIRONMENT,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_DUP2, writing, 2),
            ],
            setpgroup=0,
            setsigdef=programs.RESET_SIGNALS,
            setsigmask=[],
        )  # fmt: skip
    except OSError as error:
        os.close(reading)
        raise RuntimeFailedError(f"{argv[0]} could not be started: {error.strerror}", retry=True) from error
    finally:
        os.close(writing)
    handle = os.pidfd_open(child)
    try:
        said, ended = _listen(reading, handle, time.monotonic() + seconds)
        if not ended:
            _end(child, handle, pid_file)
        _, raw = os.waitpid(child, 0)
    finally:
        os.close(handle)
        os.close(reading)
    return os.waitstatus_to_exitcode(raw) if ended else None, said


def _listen(reading: int, handle: int, deadline: float) -> tuple[bytes, bool]:
    """(the first of what it said, whether it ended in time). The rest is read away, so that it never waits for us."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(handle, select.POLLIN)
    said = b""
    while (left := deadline - time.monotonic()) > 0:
        ready = {descriptor for descriptor, _ in poll.poll(int(left * 1000) + 1)}
        if reading in ready:
            data = os.read(reading, 65536)
            said += data[: MOST_SAID - len(said)]
            if not data:
                poll.unregister(reading)  # it closed its output; its end is still to come
        if handle in ready:
            with suppress(BlockingIOError):
                said += os.read(reading, MOST_SAID)[: MOST_SAID - len(said)]
            return said, True
    return said, False


def _end(child: int, handle: int, pid_file: str) -> None:
    """End the command with its group. The runtime is its parent and has not reaped it, so the number is still its own.

    The runtime alone could not be killed: the command would run on in the container, where nobody knows it.
    """
    number = 0
    with suppress(OSError, ValueError), open(pid_file, encoding="ascii") as file:
        number = int(file.read(32))
    if number > 1:
        with suppress(ProcessLookupError):
            group = os.getpgid(number)  # both runtimes make one for it; crun's is led by a process that is gone
            if group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
            os.kill(number, signal.SIGKILL)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(int(LAST_SECONDS * 1000))
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _words(said: bytes, *, first: bool) -> str:
    """The first or last line of what was said, for a sentence."""
    lines = said.decode(errors="replace").strip().splitlines() or [""]
    return inert(lines[0 if first else -1].strip())[:200]
