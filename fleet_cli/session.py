"""From the command line's `--context` to a connected client."""

from __future__ import annotations

import click

from fleet_client import contexts
from fleet_client.api import FleetClient


def client(ctx: click.Context) -> FleetClient:
    """A client of the chosen context. Raises ContextError with what to do when there is none."""
    name = ctx.find_root().obj
    return FleetClient(contexts.load(name if isinstance(name, str) else None))
