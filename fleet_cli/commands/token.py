"""`fleet token`: who may use the API. The token itself goes into a file and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet_cli.errors import LocalFileError
from fleet_cli.output import Column, clock, output_option, show, talk
from fleet_cli.params import LABEL, DurationType, seconds
from fleet_cli.session import client, confirm, must_ask
from fleet_protocol.wire.durable import replace_durably

ROLES = ("viewer", "installer", "operator", "releaser", "approver", "admin")


@click.group()
def token() -> None:
    """Who may use the API, and for which devices."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it may do.")
@click.option("--scope", "scope", multiple=True, type=LABEL, help="Only devices with this label; may be repeated.")
@click.option("--ttl", type=DurationType("1m", "1830d"), help="How long it is good: 12h, 90d. Without: until revoked.")
@click.option(
    "--token-file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the token goes; only you can read it. It must not be there yet.",
)
@click.pass_context
def create(
    ctx: click.Context, name: str, role: str, scope: tuple[tuple[str, str], ...], ttl: str | None, token_file: Path
) -> None:
    """A token for NAME, a person or a machine. It is shown to nobody: it goes into a file."""
    wish: dict[str, Any] = {"name": name, "role": role, "scope": dict(scope)}
    if ttl is not None:
        wish["ttl_s"] = seconds(ttl)
    if token_file.exists():
        raise LocalFileError("the file is there already", element=str(token_file))
    # Before the token exists: whether the file can be written must not be found out afterwards.
    replace_durably(token_file, b"")
    try:
        with client(ctx) as server:
            issued = server.new_api_token(wish)
        replace_durably(token_file, f"{issued['token']}\n".encode())
    except BaseException:
        token_file.unlink(missing_ok=True)
        raise
    reach = ", ".join(f"{key}={value}" for key, value in scope) or "all devices"
    talk(f"{name} is {role} for {reach}. The token is in {token_file}.")


@token.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that were revoked.")
@output_option
@click.pass_context
def list_(ctx: click.Context, everything: bool, form: str) -> None:
    """Names, roles and scopes; the server itself knows no more of a token than its hash."""
    with client(ctx) as server:
        rows = [r for r in server.api_tokens() if everything or not r.get("revoked_at")]
    columns = [
        Column("NAME", lambda r: r["name"]),
        Column("ROLE", lambda r: r["role"]),
        Column("SCOPE", lambda r: ",".join(f"{k}={v}" for k, v in sorted(r["scope"].items())) or "all"),
        Column("EXPIRES", lambda r: clock(r["expires"]) if r.get("expires") else "-"),
        Column("CREATED", lambda r: clock(r["created_at"]), wide=True),
        Column("BY", lambda r: r.get("created_by") or "-", wide=True),
        Column("REVOKED", lambda r: clock(r["revoked_at"]) if r.get("revoked_at") else "-", wide=True),
    ]
    show("ApiToken", rows, columns, form, key="name", empty="No tokens.")


@token.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def revoke(ctx: click.Context, name: str, yes: bool) -> None:
    """End NAME's token, at once and for good. The name is not given out again."""
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        if ask:
            confirm(server, f"End the token of {name} for good")
        server.revoke_api_token(name)
    talk(f"{name}'s token is no longer good.")


@click.command()
@output_option
@click.pass_context
def whoami(ctx: click.Context, form: str) -> None:
    """Name, role and scope of the token in use."""
    with client(ctx) as server:
        row = server.whoami()
    columns = [
        Column("NAME", lambda r: r["name"]),
        Column("ROLE", lambda r: r["role"]),
        Column("SCOPE", lambda r: ",".join(f"{k}={v}" for k, v in sorted(r["scope"].items())) or "all devices"),
    ]
    show("Token", [row], columns, form, key="name", empty="")
