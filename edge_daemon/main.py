"""`edge-daemon`: one program on the host. Each command loads what it needs and nothing else: `run` stays resident, and
what is imported here stays with it. Standard library only."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from fleet_protocol.wire.errors import Exit, RoadsteadError

STATE_DIR = Path("/var/lib/roadstead")
RUN_DIR = Path("/run/roadstead")

COMMANDS = {
    "enroll": "edge_daemon.commands.enroll",
    "renew": "edge_daemon.commands.renew",
    "run": "edge_daemon.keeper.main",
    "doctor": "edge_daemon.commands.doctor",
    "status": "edge_daemon.commands.ask",
    "ps": "edge_daemon.commands.ask",
    "top": "edge_daemon.commands.top",
    "logs": "edge_daemon.commands.logs",
    "events": "edge_daemon.commands.ask",
    "rollback": "edge_daemon.commands.act",
    "hold": "edge_daemon.commands.act",
    "lift": "edge_daemon.commands.act",
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="edge-daemon", description="Runs signed containers on this host, on-line or not.", allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    enroll = _command(commands, "enroll", "give this host an identity, with a token from the operator")
    enroll.add_argument(
        "token", nargs="?", metavar="TOKEN", help="the line that `fleet enroll token` printed; - reads it"
    )
    enroll.add_argument("--token-file", metavar="FILE", help="read the token from a file, or from standard input (-)")
    enroll.add_argument("--name", default="", help="the name to ask for; default: the host's own")
    enroll.add_argument("--wait", action="store_true", help="wait for the operator's approval")
    enroll.add_argument("--force", action="store_true", help="replace the identity that this host has")
    _output(enroll)

    renew = _command(commands, "renew", "renew this host's certificate, if two thirds of its life are over")
    renew.add_argument("--now", action="store_true", help="ask whatever this host's clock says")

    run = _command(commands, "run", "run what this host is to run, until stopped; containers outlive it")
    run.add_argument("--run-dir", type=Path, default=RUN_DIR, help="what a reboot may empty (default %(default)s)")
    run.add_argument(
        "--cgroup-parent", default="/roadstead", help="the control group of all containers (default %(default)s)"
    )
    run.add_argument(
        "--cgroup-driver",
        choices=("auto", "cgroupfs", "systemd"),
        default="auto",
        help="who owns that group; systemd: in roadstead-apps.slice (default: systemd where it is PID 1 on cgroup v2)",
    )
    run.add_argument("--runtime", default="", help="runc, crun, or a path; default: whichever fits this host")
    run.add_argument(
        "--socket-group", metavar="GROUP", help="whose members may look: status, ps, top, logs, events"
        " (default: roadstead, where there is such a group; '' for none)",
    )  # fmt: skip
    run.add_argument("--socket-group-may-change", action="store_true", help="and roll back, hold and lift")
    run.add_argument("--expect-netns", type=Path, help="refuse to run in any other network namespace than this one")

    _output(_command(commands, "doctor", "say what this host can and cannot enforce, and what to do about it"))

    for name, words in (
        ("status", "say what runs, what is wanted, and why they differ"),
        ("ps", "list the containers with their limits as the kernel has them"),
        ("top", "show what each container uses of what it may, until q is pressed"),
        ("logs", "print what a container wrote"),
        ("events", "list what happened, newest last"),
    ):
        local = _command(commands, name, words)
        local.add_argument("--run-dir", type=Path, default=RUN_DIR, help="as given to `run` (default %(default)s)")
        if name == "logs":
            local.add_argument("app", metavar="APP")
            local.add_argument("service", metavar="SERVICE", nargs="?", default="")
            local.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
            local.add_argument("--since", metavar="TIME", help="10m, 2h, 1d ago, or a moment: 2026-03-01T12:00:00Z")
        if name == "top":
            local.add_argument("--once", action="store_true", help="one table, and end")
        if name in ("logs", "events"):
            local.add_argument(
                "-n", "--lines", "--tail", type=_count, default=50, help="how many of the last (default %(default)s)"
            )
        _output(local)

    for name, words in (
        ("rollback", "go back to an app's last good now, and do not start its present revision again"),
        ("hold", "keep an app at what it runs, whatever arrives, until a time is over"),
        ("lift", "allow an app's quarantined revisions to be started again"),
    ):
        act = _command(commands, name, words)
        act.add_argument("--run-dir", type=Path, default=RUN_DIR, help="as given to `run` (default %(default)s)")
        act.add_argument("app", metavar="APP")
        if name == "hold":
            act.add_argument("--for", dest="length", required=True, metavar="TIME", help="30m, 12h, 1d; off ends it")
        _output(act)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = parser().parse_args(argv)
    try:
        module = importlib.import_module(COMMANDS[args.command])
        return int(module.run(args))
    except RoadsteadError as error:
        print(f"edge-daemon: {error.sentence()}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at its end
        return Exit.OK
    except PermissionError as error:
        print(f"edge-daemon: {error.strerror}: {error.filename}", file=sys.stderr)
        print("  hint: run it as root", file=sys.stderr)
        return Exit.NOT_ALLOWED


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False)
    command.add_argument("--state-dir", type=Path, default=STATE_DIR, help="what survives (default %(default)s)")
    return command


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number of lines")
    return int(text)


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default %(default)s")


if __name__ == "__main__":
    sys.exit(main())
