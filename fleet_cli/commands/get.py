"""`fleet get`: lists."""

from __future__ import annotations

from typing import Any

import click

from fleet_cli.output import SYMBOLS, Column, age, clock, output_option, show, size, state
from fleet_cli.session import client
from fleet_protocol.wire.where import parse_sort, parse_where

Json = dict[str, Any]


@click.group()
def get() -> None:
    """List devices, fleets, rollouts, tokens or events."""


where_option = click.option(
    "-l", "--where", "wheres", multiple=True, metavar="FILTER", help="`site=lyon state!=ok gw>=1.9`; docs/api.md."
)


@get.command()
@click.argument("name", required=False)
@where_option
@click.option("--state", "states", multiple=True, type=click.Choice(list(SYMBOLS)), help="Only devices in this state.")
@click.option("--sort", default="", metavar="FIELDS", help="`-memory,name`: the largest first.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="At most so many.")
@output_option
@click.pass_context
def devices(
    ctx: click.Context,
    name: str | None,
    wheres: tuple[str, ...],
    states: tuple[str, ...],
    sort: str,
    limit: int | None,
    form: str,
) -> None:
    """Every device: state, why, what runs, and when it was last heard of. `-o json` has what its kernel says."""
    where = " ".join((*wheres, f"state={','.join(states)}" if states else "", f"name={name}" if name else "")).strip()
    parse_where(where)
    parse_sort(sort)
    with client(ctx) as server:
        if name and form in ("json", "yaml"):
            rows = [server.device(name)]
        else:
            rows = server.devices(where, sort, limit, view="full" if form in ("json", "yaml") else "row")
        if name and not rows:
            server.device(name)  # says that there is none
    columns = [
        Column("NAME", lambda r: r["device_id"]),
        Column("STATE", lambda r: state(r["state"])),
        Column("WHY", lambda r: r["why"] or "-"),
        Column("APPS", lambda r: ", ".join(f"{k} {v}" for k, v in sorted(r["apps"].items())) or "-"),
        Column("MEM / LIMIT", _memory),
        Column("GEN", lambda r: f"{r['generation']}/{r['desired_generation']}"),
        Column("SEEN", lambda r: age(r.get("last_seen"))),
        Column("LABELS", lambda r: ",".join(f"{k}={v}" for k, v in sorted(r["labels"].items())) or "-", wide=True),
        Column("HOST", lambda r: r.get("platform") or "-", wide=True),
    ]
    empty = "No device matches." if where else "No devices yet. Make a token: fleet enroll token --label site=lab"
    show("Device", rows, columns, form, key="device_id", empty=empty)


get.add_command(
    click.Command("device", params=devices.params, callback=devices.callback, hidden=True, help=devices.help)
)


@get.command()
@output_option
@click.pass_context
def fleets(ctx: click.Context, form: str) -> None:
    """Selectors and the apps that they run."""
    with client(ctx) as server:
        rows = server.fleets()
    columns = [
        Column("NAME", lambda r: r["name"]),
        Column("SELECTS", lambda r: "all" if r.get("select_all") else _pairs(r.get("select", {}))),
        Column("RUNS", lambda r: ", ".join(f"{a['app']}@{a['version']}" for a in r["run"]) or "-"),
    ]
    show("Fleet", rows, columns, form, key="name", empty="No fleets yet. Write fleet.yaml, then: fleet apply")


@get.command()
@output_option
@click.pass_context
def rollouts(ctx: click.Context, form: str) -> None:
    """What is being brought to the devices, and what was; newest first."""
    from fleet_cli.following import list_rollouts

    with client(ctx) as server:
        list_rollouts(server, form)


@get.command()
@output_option
@click.pass_context
def tokens(ctx: click.Context, form: str) -> None:
    """Enrolment tokens, without their secrets."""
    with client(ctx) as server:
        rows = server.tokens()
    columns = [
        Column("TOKEN", lambda r: r["token_id"]),
        Column("USES LEFT", lambda r: str(r.get("uses_left", "-"))),
        Column("EXPIRES", lambda r: clock(r["expires"])),
        Column("LABELS", lambda r: _pairs(r.get("labels", {}))),
    ]
    show("Token", rows, columns, form, key="token_id", empty="No tokens.")


@get.command()
@click.option("--device", help="Only this device's.")
@where_option
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@output_option
@click.pass_context
def events(ctx: click.Context, device: str | None, wheres: tuple[str, ...], limit: int, form: str) -> None:
    """What happened on the hosts, newest first."""
    where = " ".join(wheres)
    parse_where(where)
    with client(ctx) as server:
        rows = server.events(device, limit, where)
    columns = [
        Column("TIME", lambda r: clock(r["at"])),
        Column("DEVICE", lambda r: r["device_id"]),
        Column("WHAT", lambda r: r["kind"]),
        Column("TEXT", lambda r: r["text"]),
    ]
    show(
        "Event",
        rows,
        columns,
        form,
        key="seq",
        empty=f"No event of {device} is known." if device else "Nothing has happened yet.",
    )


def _memory(row: Json) -> str:
    used, limit = row.get("memory_bytes"), row.get("memory_limit_bytes")
    return f"{size(used)} / {size(limit)}" if used is not None and limit is not None else "-"


def _pairs(labels: Json) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "-"
