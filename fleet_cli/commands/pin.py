"""`fleet pin`, `fleet unpin`: an app on one device stays as it is."""

from __future__ import annotations

from typing import Any

import click

from fleet_cli.output import Column, age, clock, output_option, show
from fleet_cli.params import APP, DEVICE, VERSION, DurationType, seconds
from fleet_cli.session import client
from fleet_protocol.wire.errors import inert

Json = dict[str, Any]
LENGTH = DurationType("1m", "365d")


@click.group()
def pin() -> None:
    """Keep an app on a device as it is, whatever its fleet says."""


@pin.command()
@click.argument("name", type=DEVICE)
@click.option("--app", required=True, metavar="APP[@VERSION]", help="Which app; refused if it is another version.")
@click.option("--for", "length", type=LENGTH, help="For so long; default: until it is unpinned.")
@click.option("--reason", default="", help="For those who read why.")
@click.pass_context
def device(ctx: click.Context, name: str, app: str, length: str | None, reason: str) -> None:
    """Keep an app on the device NAME."""
    wanted, at, version = app.partition("@")
    asked: Json = {"app": APP.convert(wanted, None, None), "reason": reason}
    if at:
        asked["version"] = VERSION.convert(version, None, None)
    if length:
        asked["for_s"] = seconds(length)
    with client(ctx) as server:
        made = server.pin(name, asked)
    until = f"until {clock(made['until'])}" if made.get("until") else "until it is unpinned"
    click.echo(inert(f"{name}: {made['app']} stays {made['release'] or 'away'} {until}"))


@pin.command("list")
@output_option
@click.pass_context
def list_(ctx: click.Context, form: str) -> None:
    """Every pin."""
    with client(ctx) as server:
        rows = server.pins()
    columns = [
        Column("DEVICE", lambda r: r["device_id"]),
        Column("APP", lambda r: f"{r['app']} {r['release'] or '-'}"),
        Column("UNTIL", lambda r: clock(r["until"]) if r.get("until") else "unpinned"),
        Column("BY", lambda r: r["by"]),
        Column("SINCE", lambda r: f"{age(r['since'])} ago"),
        Column("REASON", lambda r: r["reason"] or "-"),
    ]
    show("Pin", rows, columns, form, key="device_id", empty="Nothing is pinned.")


@click.group()
def unpin() -> None:
    """Let a pinned app go with its fleet again."""


@unpin.command("device")
@click.argument("name", type=DEVICE)
@click.option("--app", required=True, type=APP, help="Which app.")
@click.pass_context
def unpin_device(ctx: click.Context, name: str, app: str) -> None:
    """End a pin on the device NAME."""
    with client(ctx) as server:
        server.unpin(name, app)
    click.echo(inert(f"{name}: {app} goes with its fleet again"))
