"""The `fleet` command: a table of names, each loaded only when it is called.

Errors are caught here and nowhere below: what, why, what to do next on stderr, and the documented exit status.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

import click

from fleet_cli.errors import LocalFileError, OwnFaultError
from fleet_cli.output import colour, plain
from fleet_protocol.wire.errors import Exit, RoadsteadError


class Entry(NamedTuple):
    """Where a command lives and what it is for."""

    module: str
    name: str
    help: str


COMMANDS: dict[str, Entry] = {
    "init": Entry("author", "init", "Write app.yaml and fleet.yaml beside a compose file."),
    "lint": Entry("author", "lint", "Every error in app.yaml, fleet.yaml and compose files at once."),
    "explain": Entry("author", "explain", "What an error code means."),
    "schema": Entry("author", "schema", "Print the JSON Schema of app.yaml or fleet.yaml."),
    "release": Entry("release", "release", "Resolve images, sign a release and upload it."),
    "withdraw": Entry("withdraw", "withdraw", "Take a release back: no host starts it any more."),
    "trust": Entry("trust", "trust", "Keys and roles: make a trust root, delegate an app."),
    "plan": Entry("plan", "plan", "Show what applying fleet.yaml would change. Changes nothing."),
    "apply": Entry("plan", "apply", "Change the fleet as planned."),
    "simulate": Entry("simulate", "simulate", "Play a rollout over thousands of devices that are not there."),
    "rollout": Entry("rollout", "rollout", "Watch a rollout, and steer it."),
    "pin": Entry("pin", "pin", "Keep an app on a device as it is."),
    "unpin": Entry("pin", "unpin", "Let a pinned app go with its fleet again."),
    "quarantine": Entry("quarantine", "quarantine", "Releases that nobody gets, until a person lifts it."),
    "get": Entry("get", "get", "List devices, fleets, rollouts, tokens or events."),
    "describe": Entry("describe", "describe", "Why a device is in the state it is in."),
    "ui": Entry("ui", "ui", "The fleet on one screen, live."),
    "enroll": Entry("enroll", "enroll", "Tokens and the approval queue."),
    "device": Entry("device", "device", "Take a host out of the fleet."),
    "audit": Entry("audit", "audit", "Who did what, from where and why; and whether the log is whole."),
    "token": Entry("token", "token", "API tokens: who may do what, to which devices."),
    "whoami": Entry("token", "whoami", "Name, role and scope of the token in use."),
    "ctx": Entry("ctx", "ctx", "Servers that this command talks to."),
    "version": Entry("ctx", "version", "Print the version."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and help; imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the table, which is the order of a first day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command itself; None if there is no such name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"fleet_cli.commands.{entry.module}"), entry.name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """With a guess for a name that is not there."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Whoever reads our output may stop when they have enough: that is no fault."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would complain once more at its end
            return int(Exit.OK)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """From the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from fleet_cli.commands.ctx import version_text

        click.echo(version_text())
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.option("--context", "context_name", metavar="NAME", help="Use this context instead of the current one.")
@click.pass_context
def fleet(ctx: click.Context, context_name: str | None) -> None:
    """Roll signed containers out to a fleet of edge hosts, and see how they are."""
    ctx.obj = context_name
    ctx.color = colour()


def main(argv: list[str] | None = None) -> None:
    """Run and exit with the documented status."""
    try:
        status = fleet.main(args=argv, prog_name="fleet", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except click.Abort:
        click.echo("Stopped; nothing more was changed.", err=True)
        sys.exit(130)
    except RoadsteadError as error:
        show_error(error)
        sys.exit(int(error.exit_status))
    except OSError as error:
        show_error(LocalFileError.from_os(error))
        sys.exit(Exit.OTHER)
    except Exception as error:
        import traceback

        traceback.print_exc()
        show_error(OwnFaultError(f"{type(error).__name__}: {error}", hint="report it with the lines above"))
        sys.exit(Exit.OTHER)
    sys.exit(status if isinstance(status, int) else 0)


def show_error(error: RoadsteadError) -> None:
    """What and why, then what to do next. Errors in files are shown each with its line."""
    findings = getattr(error, "findings", ())
    for finding in findings:
        click.echo(finding.render(), err=True, color=colour())
    if findings:
        click.echo(f"{len(findings)} error(s); nothing was changed.", err=True)
        return
    code = click.style(f"error[{error.code}]", fg="red", bold=True)
    click.echo(f"{code} {error.sentence()}", err=True, color=colour())
    if error.hint:
        click.echo(plain(f"  next: {error.hint}"), err=True)
