"""Extending `release/<app>`: verify it, add one release or one withdrawal, sign, upload by compare-and-swap.

The signer trusts the server no more than a device does: root is pinned by `fleet.lock`, the role is verified from there
and must not lie below what the lock has seen. A role that has expired may be extended, because that is how it lives on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet_protocol.documents.fleet import RoleVersion
from fleet_protocol.documents.release import (
    ROLE_EXTRA_FIELD,
    Release,
    RoleExtra,
    Withdrawal,
    role_name,
    target_path,
)
from fleet_protocol.trust.errors import MetadataError
from fleet_protocol.trust.keys import Signer
from fleet_protocol.trust.metadata_rules import check_successor, live_releases, parse_role, role_extra
from fleet_protocol.trust.tuf_api import Metadata, TargetFile, Targets
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire.bounds import MAX_LIVE_RELEASES
from fleet_protocol.wire.errors import Exit, RoadsteadError
from fleet_release.trust.lock import FleetLock
from fleet_release.trust.server import MetadataServer, pinned_root, verified_client

ROLE_LIFE = timedelta(days=30)


class ReleaseRefusedError(RoadsteadError):
    """The role cannot be extended in this way."""

    phase = "signing a release"
    component = "release role"
    code = "E0221"
    exit_status = Exit.CONFLICT


@dataclass(frozen=True)
class OpenRole:
    """A verified role, ready to be extended. `signed` is None where there is nothing to extend."""

    app: str
    root_sha256: str
    root_version: int
    version: int
    extra: RoleExtra
    signed: Targets | None
    last_counter: int  # the higher of the role's and the lock's


@dataclass(frozen=True)
class SignedRole:
    """What is to be uploaded, and the lock to be committed afterwards."""

    app: str
    replaces: int
    data: bytes
    targets: dict[str, bytes]  # sha256 -> bytes, to be uploaded before
    lock: FleetLock
    counter: int = 0  # of the release that was added; 0: none was
    dropped: tuple[str, ...] = ()  # versions that made room and are no longer live
    unchanged: bool = False  # this very release is listed already: nothing to upload


def open_role(
    server: MetadataServer,
    app: str,
    root_sha256: str,
    lock: FleetLock | None,
    *,
    now: Callable[[], float] = time.time,
    begin_anew: bool = False,
) -> OpenRole:
    """Read and verify the role. Raises TrustError for what does not verify or lies below `lock`.

    `begin_anew`: the app has new keys, so that what the old ones signed is worth nothing. The role continues its
    version and the lock's counter, with no release in it.
    """
    if lock is not None:
        root_sha256 = lock.root_sha256
    with verified_client(server, pinned_root(server, root_sha256), now=now) as client:
        try:
            signed = client.signed_role_of_any_age(app)
        except MetadataError:
            if not begin_anew:
                raise
            signed = None
        version, root_version = client.version(role_name(app)), client.version("root")
    extra = RoleExtra(last_counter=lock.last_counter if lock and begin_anew else 0)
    extra = role_extra(role_name(app), signed) if signed else extra
    if lock is not None:
        lock.check(app, root_version, version, extra.last_counter)
    last = max(extra.last_counter, lock.last_counter if lock else 0)
    return OpenRole(app, root_sha256, root_version, version, extra, signed, last)


def add_release(
    role: OpenRole,
    make: Callable[[int], Release],
    signers: Sequence[Signer],
    now: datetime,
    *,
    min_counter: int | None = None,
    life: timedelta = ROLE_LIFE,
) -> SignedRole:
    """The role with one release more; `make(counter)` builds it with the counter it gets.

    The same version with the same content is `unchanged`; with other content it is refused, as is a withdrawn one.
    """
    live = live_releases(role_name(role.app), role.signed) if role.signed else {}
    counter = role.last_counter + 1
    release = make(counter)
    if release.app != role.app or release.release_counter != counter:
        raise ReleaseRefusedError(f"is of {release.app} with counter {release.release_counter}", element=role.app)
    if any(w.version == release.version for w in role.extra.withdrawals):
        raise ReleaseRefusedError(
            f"{release.version} was withdrawn; release it under another version", element=role.app
        )
    if line := live.get(release.version):
        if _hash(make(line.counter).to_bytes()) != line.sha256:
            raise ReleaseRefusedError(
                f"{release.version} is released already with other content; use another version", element=role.app
            )
        return SignedRole(role.app, role.version, b"", {}, _lock(role, role.version, role.last_counter), unchanged=True)
    data = release.to_bytes()
    target = TargetFile.from_data(target_path(role.app, release.version), data, ["sha256"])
    target.unrecognized_fields["custom"] = {"release_counter": counter}
    by_age = sorted(live.values(), key=lambda line: line.counter)
    dropped = tuple(line.version for line in by_age[: max(0, len(live) + 1 - MAX_LIVE_RELEASES)])
    targets = {p: t for p, t in _targets(role).items() if p not in {target_path(role.app, v) for v in dropped}}
    targets[target.path] = target
    extra = RoleExtra(
        min_counter=max(role.extra.min_counter, min_counter or 0),
        last_counter=counter,
        withdrawals=role.extra.withdrawals,
    )
    if extra.min_counter > counter:
        raise ReleaseRefusedError(
            f"min_counter {extra.min_counter} is above this release's {counter}", element=role.app
        )
    signed = _sign(role, targets, extra, signers, now + life)
    return SignedRole(
        role.app, role.version, signed, {_hash(data): data}, _lock(role, role.version + 1, counter), counter, dropped
    )


def withdraw(
    role: OpenRole,
    withdrawal: Withdrawal,
    signers: Sequence[Signer],
    now: datetime,
    *,
    life: timedelta = ROLE_LIFE,
) -> SignedRole:
    """The role without that release, and saying so. `stop` may follow `refuse`; the other way keeps `stop`."""
    before = {w.version: w for w in role.extra.withdrawals}
    known = before.get(withdrawal.version)
    if known is None or known.effect == "refuse":
        before[withdrawal.version] = withdrawal
    extra = RoleExtra(
        min_counter=role.extra.min_counter, last_counter=role.last_counter, withdrawals=tuple(before.values())
    )
    gone = target_path(role.app, withdrawal.version)
    return _again(role, {p: t for p, t in _targets(role).items() if p != gone}, extra, signers, now + life)


def renew(role: OpenRole, signers: Sequence[Signer], now: datetime, *, life: timedelta = ROLE_LIFE) -> SignedRole:
    """The same role with a new expiry."""
    extra = role.extra.model_copy(update={"last_counter": role.last_counter})
    return _again(role, _targets(role), extra, signers, now + life)


def add_signature(signed: SignedRole, signer: Signer) -> SignedRole:
    """One more signature, where the delegation asks for several."""
    parsed = parse_role(role_name(signed.app), signed.data)
    parsed.sign(TufSigner(signer), append=True)
    return SignedRole(**{**vars(signed), "data": parsed.to_bytes()})


def publish(server: MetadataServer, signed: SignedRole) -> RoleVersion | None:
    """Upload targets, then the role; None if there is nothing to upload. The server answers 409 to who came second."""
    if signed.unchanged:
        return None
    for sha256, data in signed.targets.items():
        server.put_target(sha256, data)
    return RoleVersion.from_value(server.put_metadata(role_name(signed.app), signed.data, signed.replaces))


def _again(
    role: OpenRole, targets: dict[str, TargetFile], extra: RoleExtra, signers: Sequence[Signer], expires: datetime
) -> SignedRole:
    data = _sign(role, targets, extra, signers, expires)
    return SignedRole(role.app, role.version, data, {}, _lock(role, role.version + 1, role.last_counter))


def _targets(role: OpenRole) -> dict[str, TargetFile]:
    return dict(role.signed.targets) if role.signed else {}


def _sign(
    role: OpenRole, targets: dict[str, TargetFile], extra: RoleExtra, signers: Sequence[Signer], expires: datetime
) -> bytes:
    signed = Targets(
        role.version + 1,
        expires=expires.astimezone(UTC).replace(microsecond=0),
        targets=targets,
        unrecognized_fields={ROLE_EXTRA_FIELD: extra.model_dump(mode="json")},
    )
    check_successor(role_name(role.app), role.signed or Targets(), signed)
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(TufSigner(signer), append=True)
    data = metadata.to_bytes()
    parse_role(role_name(role.app), data)
    return data


def _lock(role: OpenRole, version: int, counter: int) -> FleetLock:
    return FleetLock(
        root_sha256=role.root_sha256,
        root_version=role.root_version,
        role=role_name(role.app),
        role_version=version,
        last_counter=counter,
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
