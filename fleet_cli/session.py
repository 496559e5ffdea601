"""From the command line's `--context` to a connected client, and the one way in which a person is asked."""

from __future__ import annotations

import sys

import click

from fleet_cli.output import talk
from fleet_client import contexts
from fleet_client.api import FleetClient
from fleet_protocol.wire.errors import Exit

PROD = "prod"


def client(ctx: click.Context) -> FleetClient:
    """A client of the chosen context. Raises ContextError with what to do when there is none."""
    name = ctx.find_root().obj
    return FleetClient(contexts.load(name if isinstance(name, str) else None))


def must_ask(*, yes: bool) -> bool:
    """Whether somebody is to be asked. Refuses, before anything is done, where nobody could answer."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("this is not a terminal: give --yes to go on without being asked")
    return not yes


def confirm(server: FleetClient, question: str) -> None:
    """Ends the command unless the person agrees; in a context marked prod, by typing its name."""
    context = server.context
    if context.environment == PROD:
        talk(f"{question}? {context.name} is marked {PROD}.")
        agreed = click.prompt("Type the context's name", err=True, default="", show_default=False) == context.name
    else:
        agreed = click.confirm(question, err=True)
    if not agreed:
        talk("Nothing was changed.")
        raise click.exceptions.Exit(Exit.OTHER)
