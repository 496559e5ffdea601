"""`fleet ctx`: servers that this command talks to. Works while every one of them is down."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path

import click

from fleet_cli.output import talk
from fleet_client import contexts


@click.group()
def ctx() -> None:
    """Servers that this command talks to."""


@ctx.command("list")
def list_() -> None:
    """Names; the current one with a star."""
    names, current = contexts.names()
    for name in names:
        click.echo(f"{'*' if name == current else ' '} {name}")


@ctx.command()
@click.argument("name")
@click.option("--server", required=True, help="https://HOST:PORT")
@click.option("--ca-file", required=True, type=click.Path(exists=True, path_type=Path), help="The server's CA (PEM).")
@click.option(
    "--token-file",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="File that holds your token; only you may read it.",
)
@click.option("--environment", default="", help="`prod` asks more before it changes anything.")
def add(name: str, server: str, ca_file: Path, token_file: Path, environment: str) -> None:
    """Add a server and use it."""
    made = contexts.Context(name, server, ca_file.absolute(), token_file.absolute(), environment)
    made.token()
    contexts.add(made, use=True)
    talk(f"Using {name} ({server}).")


@ctx.command()
@click.argument("name")
def use(name: str) -> None:
    """Make NAME the current one."""
    contexts.use(name)


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"fleet {installed_version('roadstead')}")
