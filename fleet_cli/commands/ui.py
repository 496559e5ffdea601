"""`fleet ui`: the terminal UI. Textual is loaded here and by no other command."""

from __future__ import annotations

import sys

import click

from fleet_protocol.wire.errors import RoadsteadError

SKINS = ("dark", "ansi", "deuteranopia", "mono")


class UiMissingError(RoadsteadError):
    """Textual is not there."""

    phase = "starting the terminal UI"
    component = "fleet"
    code = "E0560"


@click.command()
@click.option("--theme", type=click.Choice(SKINS), help="Colours; NO_COLOR rules, otherwise what the terminal can.")
@click.option("--ascii", "ascii_only", is_flag=True, help="ASCII only, for terminals and fonts without symbols.")
@click.option("--fps", type=click.FloatRange(0.2, 30), default=2.0, show_default=True, help="Paint at most so often.")
@click.pass_context
def ui(ctx: click.Context, theme: str | None, ascii_only: bool, fps: float) -> None:
    """See and run the fleet on one screen. Press ? for its keys."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("this is not a terminal; for scripts there is: fleet get devices -o json")
    try:
        from tui.main import run
    except ModuleNotFoundError as error:
        raise UiMissingError(
            f"{error.name} is not installed", element="fleet ui", hint="pip install 'roadstead[ui]'"
        ) from error
    run(ctx.find_root().obj, skin=theme, ascii_only=ascii_only, fps=fps)
