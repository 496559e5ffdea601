"""`fleet describe device`: why it is in the state it is in."""

from __future__ import annotations

import json
from typing import Any

import click

from fleet_cli.output import age, as_yaml, clock, size, state
from fleet_cli.session import client
from fleet_protocol.wire.errors import inert

Json = dict[str, Any]
MARK = {"info": " ", "warn": "▲", "error": "✗"}


@click.group()
def describe() -> None:
    """Why a device is in the state it is in."""


@describe.command()
@click.argument("name")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json", "yaml"]), default="text")
@click.pass_context
def device(ctx: click.Context, name: str, form: str) -> None:
    """Desired and running, limits as the kernel has them, and the newest events."""
    with client(ctx) as server:
        row = server.device(name)
    if form == "json":
        click.echo(json.dumps({"apiVersion": "roadstead/v1", "kind": "Device", **row}, indent=2))
    elif form == "yaml":
        click.echo(as_yaml({"apiVersion": "roadstead/v1", "kind": "Device", **row}), nl=False)
    else:
        for line in lines(row):
            click.echo(inert(line))


def lines(row: Json) -> list[str]:
    """The text form."""
    reported = row.get("reported") or {}
    host = reported.get("host", {})
    out = [
        f"{row['device_id']}  {state(row['state'])}  {row['why']}".rstrip(),
        f"  labels       {', '.join(f'{k}={v}' for k, v in sorted(row['labels'].items())) or '-'}",
        f"  fleets       {', '.join(row.get('fleets', ())) or '-'}",
        f"  seen         {_seen(row)}, {'connected' if row['online'] else 'not connected'}",
        f"  host         {', '.join(f'{k} {v}' for k, v in host.items() if isinstance(v, str | int)) or '-'}",
        f"  certificate  until {clock(row['certificate_expires'])}",
        (
            f"  generation   runs {reported.get('running_generation', 0)}, accepted {reported.get('generation', 0)},"
            f" desired {row['desired_generation']}"
        ),
    ]
    if refusal := reported.get("refusal"):
        out += ["", f"  ✗ refused: {refusal['sentence']}"]
    for app in reported.get("apps", ()):
        out += ["", f"  {app['app']} {app.get('release') or '-'}  {app['state']}  {app.get('why', '')}".rstrip()]
        out += [f"    {_service(service)}" for service in app.get("services", ())]
    events = row.get("events", ())
    if events:
        out += ["", "  newest events"]
        out += [f"    {clock(e['at'])} {MARK.get(e['severity'], ' ')} {e['text']}" for e in events]
    return out


def _seen(row: Json) -> str:
    return f"{age(row['last_seen'])} ago" if row.get("last_seen") else "never"


def _service(service: Json) -> str:
    limits = service.get("limits", {})
    parts = [
        f"{service['name']:<16} {service['state']:<10}",
        f"memory {size(service.get('memory_bytes'))} of {size(limits.get('memory_bytes'))}",
        f"swap {size(limits.get('swap_bytes'))}",
        f"cpu {limits['cpu_millis'] / 1000:g}" if limits.get("cpu_millis") is not None else "cpu -",
        f"pids {service.get('pids', '-')} of {limits.get('pids', '-')}",
        f"restarts {service.get('restarts', 0)}",
    ]
    return "  ".join(parts)
