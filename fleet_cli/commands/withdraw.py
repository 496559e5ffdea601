"""`fleet withdraw`: take a release back. Signed by the release role, so that no server can do it or undo it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from fleet_cli.output import talk
from fleet_cli.params import APP, VERSION
from fleet_cli.session import client, confirm, must_ask
from fleet_cli.signing import key_option, open_role_here, passphrase_option, signer_here
from fleet_protocol.wire import bounds
from fleet_protocol.wire.errors import Exit, RoadsteadError, inert

EFFECTS = {
    "refuse": "no host starts it any more; where it runs, it goes on",
    "stop": "hosts stop it where it runs, when they next ask",
}


class NoSuchReleaseError(RoadsteadError):
    """The version is not among the live releases."""

    phase = "withdrawing a release"
    component = "fleet"
    code = "E0543"
    exit_status = Exit.NOT_FOUND


@click.command()
@click.argument("release", metavar="APP@VERSION")
@click.option(
    "--effect", type=click.Choice(list(EFFECTS)), required=True, help="refuse: start it nowhere; stop: end it."
)
@click.option("--reason", default="", help="For those who read why.")
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="fleet.lock",
    help="fleet.lock of the app; default: here.",
)
@click.option("--unlisted", is_flag=True, help="Also if it is not live: it may have made room for newer ones.")
@key_option
@passphrase_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def withdraw(
    ctx: click.Context,
    release: str,
    effect: str,
    reason: str,
    lock_path: Path,
    unlisted: bool,
    key: Path | None,
    passphrase_file: Path | None,
    yes: bool,
) -> None:
    """Take a release back: the version is never to be used again."""
    from fleet_protocol.documents.release import Withdrawal, role_name
    from fleet_protocol.trust.metadata_rules import live_releases
    from fleet_release.trust.lock import write_lock
    from fleet_release.trust.release_role import publish
    from fleet_release.trust.release_role import withdraw as withdrawn

    app, version = _app_at_version(release)
    if inert(reason) != reason or len(reason) > bounds.MAX_TEXT:
        raise click.BadParameter(f"wants at most {bounds.MAX_TEXT} printable characters", param_hint="--reason")
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        role = open_role_here(server, app, lock_path)
        live = live_releases(role_name(app), role.signed) if role.signed else {}
        before = next((w for w in role.extra.withdrawals if w.version == version), None)
        if before is not None and before.effect in (effect, "stop"):
            talk(f"{app} {version} was withdrawn before ({before.effect}).")
            return
        if version not in live and before is None and not unlisted:
            raise NoSuchReleaseError(
                f"there is no live release {version} (live: {', '.join(sorted(live)) or 'none'})",
                element=app,
                hint="--unlisted, if it is an older one that made room",
            )
        if ask:
            talk(f"{app} {version}: {EFFECTS[effect]}. This cannot be taken back.")
            confirm(server, "Withdraw it")
        signer = signer_here(app, key, passphrase_file)
        signed = withdrawn(
            role,
            Withdrawal.from_value({"version": version, "effect": effect, "reason": reason}),
            [signer],
            datetime.now(UTC),
        )
        publish(server, signed)
        write_lock(lock_path, signed.lock)
    click.echo(f"withdrawn by release/{app}, version {signed.lock.role_version}: {EFFECTS[effect]}")
    talk("Commit fleet.lock. Name another version in fleet.yaml, then: fleet plan")


def _app_at_version(text: str) -> tuple[str, str]:
    app, at, version = text.partition("@")
    if not at:
        raise click.BadParameter(f"{text!r}: wants APP@VERSION, such as cam@1.9.0", param_hint="APP@VERSION")
    return APP.convert(app, None, None), VERSION.convert(version, None, None)
