"""The demo's own corner of this machine: directories, network namespaces, processes, control groups.

Everything is named below one of three roots (`STATE`, `RUN`, the control group), and `down` removes exactly those. Each
process is recorded with its start time, so that a number used again by a stranger is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

STATE = Path("/var/lib/roadstead-demo")
RUN = Path("/run/roadstead-demo")
CGROUP = "roadstead-demo"
HUB_ADDRESS = "198.18.0.1"
EDGES = ("edge-1", "edge-2", "edge-3")
PYTHON = sys.executable
PROCESSES = RUN / "processes.json"


def edge_address(edge: str) -> str:
    """The host's address in the hub's network, 198.18.0.0/24 (reserved for tests, RFC 2544)."""
    return f"198.18.0.1{EDGES.index(edge) + 1}"


def netns(name: str) -> Path:
    """The file that keeps a network namespace alive."""
    return RUN / "netns" / name


def inside(name: str, *command: str) -> list[str]:
    """`command`, run in the named network namespace. Not `ip netns exec`: that would hide the control groups."""
    return ["nsenter", f"--net={netns(name)}", "--", *command]


def run(*command: str, check: bool = True, timeout: float = 60) -> str:
    """Output of a command; its own words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])}: status {done.returncode}\n{done.stdout}{done.stderr}".strip())
    return done.stdout


# --- networks


def make_networks() -> None:
    """A hub with one bridge, and a namespace for each host, joined by veth pairs. The machine's own stays as it is."""
    (RUN / "netns").mkdir(parents=True, exist_ok=True)
    for name in ("hub", *EDGES):
        netns(name).touch()
        run("unshare", f"--net={netns(name)}", "true")
        run(*inside(name, "ip", "link", "set", "lo", "up"))
    run(*inside("hub", "ip", "link", "add", "hub0", "type", "bridge"))
    run(*inside("hub", "ip", "addr", "add", f"{HUB_ADDRESS}/24", "dev", "hub0"))
    run(*inside("hub", "ip", "link", "set", "hub0", "up"))
    for edge in EDGES:
        run(*inside("hub", "ip", "link", "add", edge, "type", "veth", "peer", "name", "up0", "netns", str(netns(edge))))
        run(*inside("hub", "ip", "link", "set", edge, "master", "hub0", "up"))
        run(*inside(edge, "ip", "addr", "add", f"{edge_address(edge)}/24", "dev", "up0"))
        run(*inside(edge, "ip", "link", "set", "up0", "up"))


def link(edge: str, *, up: bool) -> None:
    """Plug or pull a host's cable."""
    run(*inside("hub", "ip", "link", "set", edge, "up" if up else "down"))


# --- processes


def start(name: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), env: dict[str, str] | None = None) -> int:
    """A process of its own session, its output in RUN/<name>.log; recorded for `down`."""
    with (RUN / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=pass_fds,
            cwd="/",
            env={**os.environ, **(env or {})},
        )
    known = _recorded()
    known[name] = [process.pid, start_ticks(process.pid)]
    PROCESSES.write_text(json.dumps(known))
    return process.pid


def stop(name: str, signum: int = signal.SIGTERM, wait_s: float = 10) -> None:
    """End a recorded process, by its own number only, and wait for its end."""
    known = _recorded()
    pid, ticks = known.pop(name, (0, 0))
    if pid and start_ticks(pid) == ticks:
        os.kill(pid, signum)
        if not wait_gone(pid, ticks, wait_s):
            os.kill(pid, signal.SIGKILL)
            wait_gone(pid, ticks, 5)
    PROCESSES.write_text(json.dumps(known))


def pid_of(name: str) -> int:
    """0 when it does not run."""
    pid, ticks = _recorded().get(name, (0, 0))
    return pid if pid and start_ticks(pid) == ticks else 0


def wait_gone(pid: int, ticks: int, seconds: float) -> bool:
    """Whether the process ended in time; reaps it when it is our child."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if start_ticks(pid) != ticks:
            return True
        time.sleep(0.02)
    return False


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat; 0 when there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def log_of(name: str, lines: int = 15) -> str:
    """The end of a process's log."""
    path = RUN / f"{name}.log"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def _recorded() -> dict[str, list[int]]:
    return json.loads(PROCESSES.read_text()) if PROCESSES.exists() else {}


# --- taking down


def down() -> list[str]:
    """Remove all of it. Returns what could not be removed (empty: nothing is left)."""
    for name in list(_recorded()):
        stop(name)
    for edge in EDGES:
        remove_containers(edge)
    for pid in _processes_below_run():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if not _processes_below_run():
            break
        time.sleep(0.05)
    for mount in sorted(_mounts(), reverse=True):
        run("umount", "--lazy", mount, check=False)
    for _ in range(40):  # the kernel lets go of a group a moment after its last process
        for folder in _cgroups():
            _remove_cgroup(folder)
        if not _cgroups():
            break
        time.sleep(0.05)
    for root in (RUN, STATE):
        shutil.rmtree(root, ignore_errors=True)
    return leftovers()


def remove_containers(edge: str) -> None:
    """Each container by the host's own tool, as the daemon does it."""
    run_dir, state_dir = RUN / edge, STATE / edge
    for folder in sorted((run_dir / "containers").glob("*.*")):
        app, _, service = folder.name.partition(".")
        starter = [PYTHON, "-I", "-m", "edge_daemon.keeper.starter", "remove"]
        where = ["--state-dir", str(state_dir), "--run-dir", str(run_dir), "--cgroup-parent", f"/{CGROUP}/{edge}"]
        command = [*starter, *where, "--runtime", "auto", app, service]
        run(*(inside(edge, *command) if netns(edge).exists() else command), check=False)


def leftovers() -> list[str]:
    """Whatever of the demo is still there."""
    paths = [str(p) for p in (RUN, STATE) if p.exists()]
    return [*paths, *_mounts(), *map(str, _cgroups()), *(f"process {p}" for p in _processes_below_run())]


def _mounts() -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return [p for p in points if p.startswith((f"{RUN}/", f"{STATE}/")) or p in (str(RUN), str(STATE))]


def _cgroups() -> list[Path]:
    base = Path("/sys/fs/cgroup")
    return [p for p in (base / CGROUP, *(d / CGROUP for d in base.iterdir() if d.is_dir())) if p.is_dir()]


def _remove_cgroup(folder: Path) -> None:
    for inner in sorted((p for p in folder.rglob("*") if p.is_dir()), key=lambda p: len(p.parts), reverse=True):
        with contextlib.suppress(OSError):
            inner.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _processes_below_run() -> list[int]:
    """Processes whose arguments name a path of the demo (conmon, a daemon): ours, whoever started them."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                if any(a.startswith((bytes(RUN) + b"/", bytes(STATE) + b"/")) for a in arguments):
                    found.append(int(folder.name))
    return found
