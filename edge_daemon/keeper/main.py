"""`edge-daemon run`: become the keeper.

The keeper runs in a Python of its own that leaves out docstrings and assertions (-OO), the user's environment (-I)
and all but one malloc arena: together some 4 MB less for as long as the host is up. So `run` replaces this process
once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

from edge_daemon.keeper.errors import NoSuchGroupError
from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import Exit, RoadsteadError

OPTIONS = (
    "--state-dir", "--run-dir", "--cgroup-parent", "--runtime", "--expect-netns",
    "--socket-gid", "--socket-gid-may-change", "--cgroup-driver",
)  # fmt: skip
DEFAULT_GROUP = "roadstead"
SYSTEMD = "/run/systemd/system"  # there if systemd is PID 1
ARENAS = "MALLOC_ARENA_MAX"


class Arguments(Protocol):
    """As argparse gives them to `edge-daemon run`."""

    state_dir: Path
    run_dir: Path
    cgroup_parent: str
    runtime: str
    expect_netns: Path | None
    socket_group: str | None
    socket_group_may_change: bool
    cgroup_driver: str


class Options(NamedTuple):
    """The same, from our own command line."""

    state_dir: Path
    run_dir: Path
    cgroup_parent: str = "/roadstead"
    runtime: str = ""
    expect_netns: Path | None = None
    socket_gid: int | None = None
    socket_gid_may_change: bool = False
    cgroup_driver: str = "auto"

    def words(self) -> list[str]:
        """The command line that says it."""
        out = [
            "--state-dir",
            str(self.state_dir),
            "--run-dir",
            str(self.run_dir),
            "--cgroup-parent",
            self.cgroup_parent,
            "--cgroup-driver",
            self.cgroup_driver,
        ]
        if self.runtime:
            out += ["--runtime", self.runtime]
        if self.expect_netns is not None:
            out += ["--expect-netns", str(self.expect_netns)]
        if self.socket_gid is not None:
            out += ["--socket-gid", str(self.socket_gid)]
            out += ["--socket-gid-may-change", "yes"] if self.socket_gid_may_change else []
        return out


def run(args: Arguments) -> int:
    """Replace this process by the lean one; it does not come back, unless this is it already."""
    options = Options(
        args.state_dir.absolute(), args.run_dir.absolute(), args.cgroup_parent, args.runtime or "", args.expect_netns,
        group_number(args.socket_group), args.socket_group_may_change, args.cgroup_driver,
    )  # fmt: skip
    become_lean(options)
    return keep(options)


def group_number(name: str | None) -> int | None:
    """The gid of the socket's group: of the one that was named, else of `roadstead` if there is one. Raises
    RoadsteadError. Asked before the keeper starts anew: the user database stays out of it."""
    if name == "":
        return None
    import grp

    try:
        return grp.getgrnam(name or DEFAULT_GROUP).gr_gid
    except KeyError:
        if name is None:
            return None
        hint = f"groupadd --system {name}, or leave --socket-group out"
        raise NoSuchGroupError("there is no such group", element=name[:64], hint=hint) from None


def become_lean(options: Options) -> None:
    """Start anew as `python -I -OO -m edge_daemon.keeper`, unless this process is that."""
    if sys.flags.optimize >= 2 and sys.flags.isolated and os.environ.get(ARENAS) == "1":
        return
    command = [sys.executable, "-I", "-OO", "-m", "edge_daemon.keeper", *options.words()]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, {**os.environ, ARENAS: "1"})  # noqa: S606  our own interpreter


def keep(options: Options) -> int:
    """Be the keeper until asked to end."""
    from edge_daemon.keeper.keeper import Keeper
    from edge_daemon.keeper.local_socket import Members
    from edge_daemon.keeper.machine import HostMachine

    os.umask(0o077)
    layout = Layout(options.state_dir, options.run_dir)
    members = Members(options.socket_gid, options.socket_gid_may_change)
    machine = HostMachine(layout, cgroup_parent(options), options.runtime)
    machine.runtime.setup()
    Keeper(layout, machine, daemon_version(), options.expect_netns, members).run()
    return Exit.OK


def cgroup_parent(options: Options) -> str:
    """The group of all containers; with systemd, one in a unit that it has handed over."""
    if options.cgroup_driver == "cgroupfs" or (options.cgroup_driver == "auto" and not os.path.isdir(SYSTEMD)):
        return options.cgroup_parent
    from edge_daemon.keeper.runtime import slices

    return slices.parent(options.cgroup_driver, options.cgroup_parent)


def daemon_version() -> str:
    """The installed version, read from the name of its metadata (importlib.metadata would cost 1.5 MB)."""
    for folder in sys.path:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.startswith("roadstead-") and name.endswith(".dist-info"):
                return name.removeprefix("roadstead-").removesuffix(".dist-info")
    return "unknown"


def parse(words: list[str]) -> Options:
    """Options from words. argparse stays out of the resident process. Raises RoadsteadError."""
    values: dict[str, str] = {}
    for name, value in zip(words[::2], words[1::2], strict=False):
        if name not in OPTIONS:
            raise RoadsteadError(f"{name!r} is no option of the keeper")
        values[name] = value
    if len(words) % 2 or "--state-dir" not in values or "--run-dir" not in values:
        raise RoadsteadError("wants --state-dir and --run-dir, each option with its value")
    return Options(
        Path(values["--state-dir"]).absolute(),
        Path(values["--run-dir"]).absolute(),
        values.get("--cgroup-parent", "/roadstead"),
        values.get("--runtime", ""),
        Path(values["--expect-netns"]) if "--expect-netns" in values else None,
        int(values["--socket-gid"]) if values.get("--socket-gid", "").isdecimal() else None,
        values.get("--socket-gid-may-change") == "yes",
        values.get("--cgroup-driver", "auto"),
    )


def main(words: list[str]) -> int:
    """`python -m edge_daemon.keeper`."""
    try:
        options = parse(words)
        become_lean(options)
        return keep(options)
    except RoadsteadError as error:
        sys.stderr.write(f"edge-daemon: {error.sentence()}\n")
        if error.hint:
            sys.stderr.write(f"  hint: {error.hint}\n")
        return error.exit_status
