"""`fleet release`: resolve, fill in limits, sign, upload. The only verb that uses a release key."""

from __future__ import annotations

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

from fleet_cli.output import colour, size, talk
from fleet_cli.session import client
from fleet_cli.signing import key_option, open_role_here, passphrase_option, signer_here

if TYPE_CHECKING:
    from fleet_client.api import FleetClient
    from fleet_release.images.sources import ImageSources
    from fleet_release.release import PreparedRelease
    from fleet_release.trust.release_role import SignedRole


@click.command()
@click.option("-f", "--file", "app", type=click.Path(path_type=Path), default="app.yaml", help="The app to release.")
@click.option(
    "--image", "images", multiple=True, metavar="NAME=PATH", help="Take this image from an OCI layout or archive."
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="PLATFORM",
    help="amd64, arm64, armv7, ...; default: what all images offer.",
)
@key_option
@passphrase_option
@click.option(
    "--realm", "realms", multiple=True, metavar="HOST", help="Also this host may have a registry's credentials."
)
@click.option(
    "--min-counter", type=click.IntRange(min=1), help="Refuse releases below this counter from now on (security floor)."
)
@click.pass_context
def release(
    ctx: click.Context,
    app: Path,
    images: tuple[str, ...],
    platforms: tuple[str, ...],
    key: Path | None,
    passphrase_file: Path | None,
    realms: tuple[str, ...],
    min_counter: int | None,
) -> int:
    """Resolve images, sign a release and upload it."""
    from fleet_release.release import prepare_release
    from fleet_release.trust.lock import write_lock

    app = app / "app.yaml" if app.is_dir() else app
    with _sources(images, realms) as sources, client(ctx) as server:
        server.online_keys()  # images may take minutes: better to hear now that nobody answers, or that we may not
        prepared = prepare_release(app, sources, _platforms(platforms))
        _show(prepared)
        signed = _sign(server, prepared, app, key, passphrase_file, min_counter)
        _upload(server, prepared, signed)
        write_lock(app.parent / "fleet.lock", signed.lock)
    _done(prepared, signed)
    return 0


def _platforms(texts: tuple[str, ...]) -> tuple[str, ...]:
    from fleet_release.values import parse_platform

    try:
        return tuple(dict.fromkeys(map(parse_platform, texts)))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--platform") from None


@contextmanager
def _sources(images: tuple[str, ...], realms: tuple[str, ...]) -> Iterator[ImageSources]:
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
        sources = ImageSources(Workspace(Path(folder)), files, tool_credentials(os.environ), realms=realms)
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
        click.echo(finding.render(), err=True, color=colour())
    sys.stdout.flush()


def _sign(
    server: FleetClient,
    prepared: PreparedRelease,
    app: Path,
    key: Path | None,
    passphrase_file: Path | None,
    min_counter: int | None,
) -> SignedRole:
    from fleet_release.trust.release_role import add_release

    made = prepared.release_without_counter
    role = open_role_here(server, made.app, app.parent / "fleet.lock")
    return add_release(
        role,
        lambda counter: made.model_copy(update={"release_counter": counter}),
        [signer_here(made.app, key, passphrase_file)],
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
