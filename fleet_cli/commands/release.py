"""`fleet release`: resolve, fill in limits, sign, upload. The only verb that uses a release key."""

from __future__ import annotations

import hashlib
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet_cli.output import size, talk
from fleet_cli.session import client
from fleet_cli.trust_files import known_root, trust_directory
from fleet_protocol.wire.errors import Exit, RoadsteadError

if TYPE_CHECKING:
    from fleet_client.api import FleetClient
    from fleet_release.images.sources import ImageSources
    from fleet_release.release import PreparedRelease
    from fleet_release.trust.release_role import SignedRole


class NoTrustRootError(RoadsteadError):
    """Nothing says which server's roles may be extended."""

    phase = "signing a release"
    component = "fleet"
    code = "E0541"
    exit_status = Exit.TRUST


@click.command()
@click.option("-f", "--file", "app", type=click.Path(path_type=Path), default="app.yaml", help="The app to release.")
@click.option(
    "--image", "images", multiple=True, metavar="NAME=PATH", help="Take this image from an OCI layout or archive."
)
@click.option(
    "--platform", "platforms", multiple=True, help="linux/amd64, linux/arm64, ...; default: what all images offer."
)
@click.option(
    "--key", type=click.Path(exists=True, path_type=Path), help="Release key; default: the trust directory's."
)
@click.option("--passphrase-file", type=click.Path(exists=True, path_type=Path), help="The key's passphrase.")
@click.option("--min-counter", type=int, help="Refuse releases below this counter from now on (security floor).")
@click.pass_context
def release(
    ctx: click.Context,
    app: Path,
    images: tuple[str, ...],
    platforms: tuple[str, ...],
    key: Path | None,
    passphrase_file: Path | None,
    min_counter: int | None,
) -> int:
    """Resolve images, sign a release and upload it."""
    from fleet_release.findings import FilesRefusedError
    from fleet_release.release import prepare_release
    from fleet_release.trust.lock import write_lock

    app = app / "app.yaml" if app.is_dir() else app
    with _sources(images) as sources, client(ctx) as server:
        try:
            prepared = prepare_release(app, sources, platforms)
        except FilesRefusedError as error:
            from fleet_cli.commands.author import show_findings

            show_findings(error.findings)
            talk(f"{len(error.findings)} error(s); nothing was signed.")
            return int(error.exit_status)
        _show(prepared)
        signed = _sign(server, prepared, app, key, passphrase_file, min_counter)
        _upload(server, prepared, signed)
        write_lock(app.parent / "fleet.lock", signed.lock)
    _done(prepared, signed)
    return 0


@contextmanager
def _sources(images: tuple[str, ...]) -> Iterator[ImageSources]:
    from fleet_release.images.credentials import tool_credentials
    from fleet_release.images.sources import ImageSources
    from fleet_release.images.workspace import Workspace

    files = {}
    for text in images:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"{text!r}: wants NAME=PATH", param_hint="--image")
        files[name] = Path(path)
    with tempfile.TemporaryDirectory(prefix="fleet-release-") as folder:
        sources = ImageSources(Workspace(Path(folder)), files, tool_credentials(os.environ))
        try:
            yield sources
        finally:
            sources.close()


def _show(prepared: PreparedRelease) -> None:
    made = prepared.release_without_counter
    click.echo(f"{made.app} {made.version}")
    for image in prepared.images:
        click.echo(
            f"  {image.name}  {image.platform}  {image.manifest.digest}"
            f"  ({size(image.download_bytes)} to fetch, {size(image.unpacked_bytes)} unpacked)"
        )
    for default in prepared.added_defaults:
        click.echo(f"  {default}")
    for note in prepared.notes:
        click.echo(f"  note: {note}")
    for finding in prepared.findings:
        click.echo(finding.render(), err=True)
    sys.stdout.flush()


def _sign(
    server: FleetClient,
    prepared: PreparedRelease,
    app: Path,
    key: Path | None,
    passphrase_file: Path | None,
    min_counter: int | None,
) -> SignedRole:
    from fleet_protocol.trust.keys import FileSigner
    from fleet_release.trust.ceremony import TrustDirectory
    from fleet_release.trust.lock import read_lock
    from fleet_release.trust.release_role import add_release, open_role

    made = prepared.release_without_counter
    lock = read_lock(app.parent / "fleet.lock")
    root = known_root()
    if root is None and lock is None:
        raise NoTrustRootError(
            "no trust root is known here", element=made.app, hint="fleet trust init, or fleet trust join"
        )
    pin = hashlib.sha256(root).hexdigest() if root is not None else lock.root_sha256 if lock is not None else ""
    role = open_role(server, made.app, pin, lock)
    if key is not None:
        phrase = passphrase_file.read_bytes().rstrip(b"\r\n") if passphrase_file else None
        signer = FileSigner(key, phrase)
    else:
        signer = TrustDirectory(trust_directory(), passphrase_file).release_signer(made.app)
    return add_release(
        role,
        lambda counter: made.model_copy(update={"release_counter": counter}),
        [signer],
        datetime.now(UTC),
        min_counter=min_counter,
    )


def _upload(server: FleetClient, prepared: PreparedRelease, signed: SignedRole) -> None:
    """Images first: a role that is listed must be fetchable."""
    from fleet_release.images.push import push_images
    from fleet_release.trust.release_role import publish

    pushed = push_images(
        prepared.images,
        server.context.server,
        f"apps/{prepared.release_without_counter.app}",
        {"Authorization": f"Bearer {server.connection.token}"},
        tls=ssl.create_default_context(cafile=str(server.context.ca_file)),
    )
    talk(f"uploaded {pushed.blobs_sent} blob(s), {size(pushed.bytes_sent)}; {pushed.blobs_known} were there")
    publish(server, signed)


def _done(prepared: PreparedRelease, signed: SignedRole) -> None:
    made = prepared.release_without_counter
    if signed.unchanged:
        talk(f"{made.app} {made.version} is released already, with exactly this content.")
        return
    click.echo(f"signed by release/{made.app}, version {signed.lock.role_version}, counter {signed.counter}")
    for version in signed.dropped:
        talk(f"{version} made room: at most 100 releases are live")
    talk("Commit fleet.lock. Next: fleet plan")
