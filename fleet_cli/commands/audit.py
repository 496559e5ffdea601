"""`fleet audit`: who did what, from where and why; and whether the log is whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fleet_cli.output import Column, clock, output_option, show, talk
from fleet_cli.params import DurationType, seconds
from fleet_cli.session import client
from fleet_client.api import FleetClient
from fleet_client.contexts import config_path
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import TrustError
from fleet_protocol.wire.where import parse_where

Json = dict[str, Any]


class AuditBrokenError(TrustError):
    """The audit log is not the one that was written."""

    component = "audit log"
    code = "E0230"


@click.group()
def audit() -> None:
    """Every change, approval and refusal: who, what, from where, why."""


@audit.command("list")
@click.option("-l", "--where", "wheres", multiple=True, metavar="FILTER", help="`who=ops action=apply`.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@output_option
@click.pass_context
def list_(ctx: click.Context, wheres: tuple[str, ...], limit: int, form: str) -> None:
    """Newest first."""
    where = " ".join(wheres)
    parse_where(where)
    with client(ctx) as server:
        rows = server.audit(where, limit)
    columns = [
        Column("TIME", lambda r: clock(r["at"])),
        Column("WHO", lambda r: r["who"]),
        Column("ACTION", lambda r: r["action"]),
        Column("WHAT", lambda r: r["element"] or "-"),
        Column("WHY", lambda r: r["why"] or r["detail"].get("cause") or r["detail"].get("reason") or "-"),
        Column("FROM", lambda r: r["origin"] or "-", wide=True),
        Column("ROW", lambda r: str(r["seq"]), wide=True),
    ]
    show("Audit", rows, columns, form, key="seq", empty="Nothing is written down." if not where else "Nothing matches.")


@audit.command()
@click.option("--since", type=DurationType("1m", "3650d"), help="Only rows of the last 7d, 12h. All are verified.")
@click.option("-o", "--output", "form", type=click.Choice(["jsonl"]), default="jsonl", help="How to print.")
@click.option("--verify", is_flag=True, help="Check every row, and that none is missing; ends with 9 if one is.")
@click.pass_context
def export(ctx: click.Context, since: str | None, form: str, verify: bool) -> None:  # noqa: ARG001 (one form so far)
    """Every row on stdout, oldest first, one JSON object a line.

    With --verify the chain is checked from its first row: against the heads that the server signed, and against the
    last row that this machine saw, so that a log whose end was cut off is found even if the server itself did it.
    """
    earliest = time.time() - seconds(since) if since else 0.0
    with client(ctx) as server:
        rows = _printed(server.audit_chain(), earliest)
        if not verify:
            for _ in rows:
                pass
            return
        count = _verify(server, rows)
    talk(f"{count} rows, unbroken.")


def _printed(rows: Iterator[Json], earliest: float) -> Iterator[Json]:
    for row in rows:
        if row["at"] >= earliest:
            click.echo(json.dumps(row, sort_keys=True))
        yield row


def _verify(server: FleetClient, rows: Iterator[Json]) -> int:
    """The number of rows. Raises AuditBrokenError, and then remembers nothing."""
    from fleet_protocol.trust.audit_heads import heads_in
    from fleet_protocol.trust.keys import PublicKey
    from fleet_protocol.wire.audit_chain import GENESIS, first_fault

    # Heads first: the log may only grow between the two.
    heads = heads_in(server.audit_heads(), PublicKey(str(server.online_keys()["director"]).encode()))
    memory = config_path().parent / "audit" / f"{server.context.name}.json"
    remembered = _remembered(memory)
    for seq, digest in remembered.items():
        if heads.setdefault(seq, digest) != digest:
            raise AuditBrokenError(f"row {seq} is not the one that this machine saw", element=server.context.name)
    last: list[Json] = [{"seq": 0, "hash": GENESIS}]

    def watched() -> Iterator[Json]:
        for row in rows:
            last[0] = row
            yield row

    fault = first_fault(watched(), heads)
    if fault is not None:
        raise AuditBrokenError(fault, element=server.context.name, hint="compare with an earlier export or a backup")
    if last[0]["seq"]:
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_durably(memory, json.dumps({"seq": last[0]["seq"], "hash": last[0]["hash"]}).encode())
    return int(last[0]["seq"])


def _remembered(path: Path) -> dict[int, str]:
    try:
        said = json.loads(path.read_bytes())
        return {int(said["seq"]): str(said["hash"])}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise AuditBrokenError("what this machine remembers of it cannot be read", element=str(path)) from error
