"""`fleet trust`: the key ceremony, and who may sign what."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet_cli.output import Column, output_option, show, talk
from fleet_cli.params import APP, existing_file
from fleet_cli.session import client
from fleet_cli.trust_files import JOINED, known_root, trust_directory
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import Exit, RoadsteadError, TrustError

if TYPE_CHECKING:
    from fleet_release.trust.ceremony import TrustDirectory

passphrase_option = click.option(
    "--passphrase-file",
    type=existing_file,
    help="File that holds the keys' passphrase; only you may read it.",
)


class JoinError(RoadsteadError):
    """The root that was handed over cannot be taken."""

    phase = "joining a trust root"
    component = "fleet"
    code = "E0540"
    exit_status = Exit.CONFLICT


@click.group()
def trust() -> None:
    """Keys and roles: make a trust root, delegate an app."""


@trust.command()
@passphrase_option
@click.pass_context
def init(ctx: click.Context, passphrase_file: Path | None) -> None:
    """Make root and targets keys here, a trust root over the server's on-line keys, and upload the public part."""
    from fleet_protocol.documents.fleet import OnlineKeys

    directory = _directory(passphrase_file)
    with client(ctx) as server:
        if not (directory.folder / "root.json").exists():
            directory.create(OnlineKeys.from_value(server.online_keys()), datetime.now(UTC))
        directory.upload(server)
    digest = hashlib.sha256(directory.root_v1()).hexdigest()
    click.echo(f"root {digest}")
    talk(f"Keys are in {directory.folder}. Keep root.key and targets.key off-line, and a copy of each.")


@trust.command()
@click.argument("app", type=APP)
@passphrase_option
@click.pass_context
def delegate(ctx: click.Context, app: str, passphrase_file: Path | None) -> None:
    """Make a release key for APP and let it sign that app's releases, and nothing else."""
    directory = _directory(passphrase_file)
    with client(ctx) as server:
        directory.add_app(app, datetime.now(UTC))
        directory.upload(server)
    talk(f"release/{app} may be signed with {directory.folder}/release-{app}.key")


@trust.command()
@click.argument("root_json", type=existing_file)
@click.pass_context
def join(ctx: click.Context, root_json: Path) -> None:
    """Take over a trust root (1.root.json) from a colleague; ROOT_JSON is the pin for tokens and releases."""
    data = root_json.read_bytes()
    known = known_root()
    if known is not None and known != data:
        raise JoinError("another trust root is known here already", element=str(trust_directory() / JOINED))
    with client(ctx) as server:
        served = server.get_metadata("1.root")
    if served != data:
        raise TrustError("the server serves another trust root than this file", element=str(root_json))
    trust_directory().mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_durably(trust_directory() / JOINED, data, 0o644)
    click.echo(f"root {hashlib.sha256(data).hexdigest()}")


@trust.command()
@passphrase_option
@click.pass_context
def renew(ctx: click.Context, passphrase_file: Path | None) -> None:
    """Give root and targets another year."""
    directory = _directory(passphrase_file)
    directory.renew_root(datetime.now(UTC))
    directory.renew_targets(datetime.now(UTC))
    with client(ctx) as server:
        versions = directory.upload(server)
    talk(", ".join(f"{role} is version {version}" for role, version in versions.items()))


@trust.command("list")
@output_option
def list_(form: str) -> None:
    """Keys on this machine, and the trust root that it knows."""
    folder = trust_directory()
    rows = [{"name": path.stem, "kind": "key", "value": str(path)} for path in sorted(folder.glob("*.key"))]
    if (root := known_root()) is not None:
        rows.append({"name": "root (pin)", "kind": "sha256", "value": hashlib.sha256(root).hexdigest()})
    columns = [Column("NAME", lambda r: r["name"]), Column("WHAT", lambda r: r["value"])]
    show("TrustItem", rows, columns, form, key="name", empty=f"No key is in {folder}: fleet trust init")


def _directory(passphrase_file: Path | None) -> TrustDirectory:
    from fleet_release.trust.ceremony import TrustDirectory

    return TrustDirectory(trust_directory(), passphrase_file)
