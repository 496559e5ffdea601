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

from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import Exit, RoadsteadError

OPTIONS = ("--state-dir", "--run-dir", "--cgroup-parent", "--runtime", "--expect-netns")
ARENAS = "MALLOC_ARENA_MAX"


class Arguments(Protocol):
    """As argparse gives them to `edge-daemon run`."""

    state_dir: Path
    run_dir: Path
    cgroup_parent: str
    runtime: str
    expect_netns: Path | None


class Options(NamedTuple):
    """The same, from our own command line."""

    state_dir: Path
    run_dir: Path
    cgroup_parent: str = "/roadstead"
    runtime: str = ""
    expect_netns: Path | None = None

    def words(self) -> list[str]:
        """The command line that says it."""
        out = [
            "--state-dir",
            str(self.state_dir),
            "--run-dir",
            str(self.run_dir),
            "--cgroup-parent",
            self.cgroup_parent,
        ]
        if self.runtime:
            out += ["--runtime", self.runtime]
        if self.expect_netns is not None:
            out += ["--expect-netns", str(self.expect_netns)]
        return out


def run(args: Arguments) -> int:
    """Replace this process by the lean one; it does not come back, unless this is it already."""
    options = Options(
        args.state_dir.absolute(), args.run_dir.absolute(), args.cgroup_parent, args.runtime or "", args.expect_netns
    )
    become_lean(options)
    return keep(options)


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
    from edge_daemon.keeper.machine import HostMachine

    os.umask(0o077)
    layout = Layout(options.state_dir, options.run_dir)
    machine = HostMachine(layout, options.cgroup_parent, options.runtime)
    machine.runtime.setup()
    Keeper(layout, machine, daemon_version(), options.expect_netns).run()
    return Exit.OK


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
