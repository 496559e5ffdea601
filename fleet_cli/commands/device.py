"""`fleet device`: what is done to one host's membership."""

from __future__ import annotations

import click

from fleet_cli.output import talk
from fleet_cli.params import DEVICE
from fleet_cli.session import client, confirm, must_ask


@click.group()
def device() -> None:
    """Take a host out of the fleet."""


@device.command()
@click.argument("name", type=DEVICE)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def decommission(ctx: click.Context, name: str, yes: bool) -> None:
    """End NAME's identity, at once and for good: neither broker nor server lets it in again.

    What runs on the host goes on until somebody stops it there. To come back it must be enrolled anew."""
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        row = server.device(name)
        if ask:
            labels = ", ".join(f"{k}={v}" for k, v in sorted(row["labels"].items())) or "no labels"
            talk(f"{name} ({labels}) is {row['state']}, {'connected' if row['online'] else 'not connected'}.")
            confirm(server, f"End the identity of {name} for good")
        server.revoke_device(name)
    talk(f"{name} is out of the fleet. What runs there goes on until it is stopped on the host.")
