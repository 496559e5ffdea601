"""`fleet quarantine`: releases that failed in a rollout, which nobody gets until a person lifts it."""

from __future__ import annotations

import click

from fleet_cli.output import Column, age, output_option, show, talk
from fleet_cli.session import client, confirm, must_ask
from fleet_protocol.wire.errors import inert


@click.group()
def quarantine() -> None:
    """Releases that nobody gets, until a person lifts it."""


@quarantine.command("list")
@output_option
@click.pass_context
def list_(ctx: click.Context, form: str) -> None:
    """Which, since when and why."""
    with client(ctx) as server:
        rows = server.quarantine()
    columns = [
        Column("RELEASE", lambda r: f"{r['app']}@{r['release']}"),
        Column("SINCE", lambda r: f"{age(r['since'])} ago"),
        Column("ROLLOUT", lambda r: r["rollout_id"]),
        Column("WHY", lambda r: r["reason"] or "-"),
    ]
    show("Quarantine", rows, columns, form, key="release", empty="No release is in quarantine.")


@quarantine.command()
@click.argument("release", metavar="APP@VERSION")
@click.option("--reason", default="", help="For those who read why.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def lift(ctx: click.Context, release: str, reason: str, yes: bool) -> None:
    """Let APP@VERSION be brought to devices again."""
    app, at, version = release.partition("@")
    if not at or not app or not version:
        raise click.BadParameter(f"{release!r}: wants APP@VERSION, such as cam@1.9.0", param_hint="APP@VERSION")
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        if ask:
            found = next((r for r in server.quarantine() if (r["app"], r["release"]) == (app, version)), None)
            talk(f"{release}: {found['reason']}" if found else f"{release} is not in quarantine")
            confirm(server, "Lift its quarantine")
        server.lift_quarantine(app, version, reason)
    click.echo(inert(f"{release} may be brought to devices again. Next: fleet plan"))
