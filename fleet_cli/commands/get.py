"""`fleet get`: lists."""

from __future__ import annotations

from typing import Any

import click

from fleet_cli.output import SYMBOLS, Column, age, clock, output_option, show, size, state
from fleet_cli.params import LABEL
from fleet_cli.session import client

Json = dict[str, Any]


@click.group()
def get() -> None:
    """List devices, fleets, rollouts, tokens or events."""


@get.command()
@click.argument("name", required=False)
@click.option("-l", "--label", "labels", multiple=True, type=LABEL, help="Only devices with this label.")
@click.option("--state", "states", multiple=True, type=click.Choice(list(SYMBOLS)), help="Only devices in this state.")
@output_option
@click.pass_context
def devices(
    ctx: click.Context,
    name: str | None,
    labels: tuple[tuple[str, str], ...],
    states: tuple[str, ...],
    form: str,
) -> None:
    """Every device: state, why, what runs, and when it was last heard of. `-o json` has what its kernel says."""
    with client(ctx) as server:
        rows = [server.device(name)] if name else server.devices()
    rows = [r for r in rows if all(r["labels"].get(k) == v for k, v in labels) and (not states or r["state"] in states)]
    columns = [
        Column("NAME", lambda r: r["device_id"]),
        Column("STATE", lambda r: state(r["state"])),
        Column("WHY", lambda r: r["why"] or "-"),
        Column("APPS", _apps),
        Column("MEM / LIMIT", _memory),
        Column("GEN", lambda r: f"{_reported(r).get('generation', 0)}/{r['desired_generation']}"),
        Column("SEEN", lambda r: age(r.get("last_seen"))),
        Column("LABELS", lambda r: ",".join(f"{k}={v}" for k, v in sorted(r["labels"].items())) or "-", wide=True),
        Column("HOST", _host, wide=True),
    ]
    empty = "No devices yet. Make a token: fleet enroll token --label site=lab"
    if labels or states:
        empty = "No device matches."
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
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@output_option
@click.pass_context
def events(ctx: click.Context, device: str | None, limit: int, form: str) -> None:
    """What happened on the hosts, newest first."""
    with client(ctx) as server:
        rows = server.events(device, limit)
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


def _reported(row: Json) -> Json:
    return row.get("reported") or {}


def _apps(row: Json) -> str:
    apps = _reported(row).get("apps", ())
    return ", ".join(f"{a['app']} {a.get('release') or '-'}" for a in apps) or "-"


def _memory(row: Json) -> str:
    services = [s for a in _reported(row).get("apps", ()) for s in a.get("services", ())]
    used = [s["memory_bytes"] for s in services if s.get("memory_bytes") is not None]
    limits = [m for s in services if (m := s.get("limits", {}).get("memory_bytes")) is not None]
    return f"{size(sum(used))} / {size(sum(limits))}" if used and limits else "-"


def _host(row: Json) -> str:
    host = _reported(row).get("host", {})
    return " ".join(str(host[k]) for k in ("arch", "cgroup", "runtime") if host.get(k)) or "-"


def _pairs(labels: Json) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "-"
