"""`fleet ctx`: servers that this command talks to. Works while every one of them is down."""

from __future__ import annotations

from pathlib import Path

import click

from fleet_cli.output import Column, output_option, show, talk
from fleet_cli.params import existing_file
from fleet_client import contexts


@click.group()
def ctx() -> None:
    """Servers that this command talks to."""


@ctx.command("list")
@output_option
def list_(form: str) -> None:
    """All of them; the current one with a star."""
    rows = contexts.listed()
    columns = [
        Column("", lambda r: "*" if r["current"] else " "),
        Column("NAME", lambda r: r["name"]),
        Column("SERVER", lambda r: r["server"]),
        Column("ENVIRONMENT", lambda r: r["environment"] or "-"),
        Column("CA FILE", lambda r: r["ca_file"], wide=True),
        Column("TOKEN FILE", lambda r: r["token_file"], wide=True),
    ]
    show("Context", rows, columns, form, key="name", empty="No server is known yet: fleet ctx add")


@ctx.command()
@click.argument("name")
@click.option("--server", required=True, help="https://HOST:PORT")
@click.option("--ca-file", required=True, type=existing_file, help="The server's CA (PEM).")
@click.option(
    "--token-file",
    required=True,
    type=existing_file,
    help="File that holds your token; only you may read it.",
)
@click.option("--environment", default="", help="`prod`: its name is to be typed before anything changes.")
def add(name: str, server: str, ca_file: Path, token_file: Path, environment: str) -> None:
    """Add a server and use it."""
    from fleet_client.http import pinned_tls, server_address

    made = contexts.Context(name, server, ca_file.absolute(), token_file.absolute(), environment)
    server_address(server)
    pinned_tls(ca_file)
    made.token()
    contexts.add(made, use=True)
    talk(f"Using {name} ({server}).")


@ctx.command()
@click.argument("name")
def use(name: str) -> None:
    """Make NAME the current one."""
    contexts.use(name)
    talk(f"Using {name}.")


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(version_text())


def version_text() -> str:
    """`fleet 0.1.0`."""
    from importlib.metadata import version as installed_version

    return f"fleet {installed_version('roadstead')}"
