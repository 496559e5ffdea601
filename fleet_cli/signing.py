"""A role opened for signing on this machine: the pin, `fleet.lock` and the key, for every verb that signs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet_cli.params import existing_file
from fleet_cli.trust_files import known_root, trust_directory
from fleet_protocol.wire.errors import DocumentInvalidError, Exit, RoadsteadError, TrustError

if TYPE_CHECKING:
    from fleet_client.api import FleetClient
    from fleet_protocol.trust.keys import FileSigner
    from fleet_release.trust.release_role import OpenRole

key_option = click.option("--key", type=existing_file, help="Release key; default: the trust directory's.")
passphrase_option = click.option("--passphrase-file", type=existing_file, help="The key's passphrase.")


class NoTrustRootError(RoadsteadError):
    """Nothing says which server's roles may be extended."""

    phase = "signing a release"
    component = "fleet"
    code = "E0541"
    exit_status = Exit.TRUST


class LockUnreadableError(TrustError):
    """fleet.lock is there and says nothing: the floor that it held is lost."""

    phase = "reading fleet.lock"
    component = "fleet"
    code = "E0542"


def open_role_here(server: FleetClient, app: str, lock_path: Path) -> OpenRole:
    """Verified against the pin and `fleet.lock`. Raises TrustError or NoTrustRootError."""
    from fleet_release.trust.lock import read_lock
    from fleet_release.trust.release_role import open_role

    try:
        lock = read_lock(lock_path)
    except DocumentInvalidError as error:
        hint = "restore it from version control; it guards against a server that shows an old state"
        raise LockUnreadableError(error.reason, element=str(lock_path), hint=hint) from error
    root = known_root()
    if root is None and lock is None:
        raise NoTrustRootError("no trust root is known here", element=app, hint="fleet trust init, or fleet trust join")
    pin = hashlib.sha256(root).hexdigest() if root is not None else lock.root_sha256 if lock is not None else ""
    try:
        return open_role(server, app, pin, lock)
    except TrustError as error:
        if lock is not None and error.code == TrustError.code and not error.hint:
            error.hint = (
                f"nothing was signed. Compare {lock_path} with version control,"
                " and ask who runs the server whether an old state was restored"
            )
        raise


def signer_here(app: str, key: Path | None, passphrase_file: Path | None) -> FileSigner:
    """The key that was named, or the trust directory's for this app."""
    from fleet_protocol.trust.keys import FileSigner
    from fleet_release.trust.ceremony import TrustDirectory

    if key is not None:
        return FileSigner(key, passphrase_file.read_bytes().rstrip(b"\r\n") if passphrase_file else None)
    return TrustDirectory(trust_directory(), passphrase_file).release_signer(app)
