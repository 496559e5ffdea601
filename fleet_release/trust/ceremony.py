"""The key ceremony: a trust root over the server's on-line keys, and delegations of apps.

The trust directory holds private keys (0600) and what was signed with them:

    root.key, targets.key, release-<app>.key
    <n>.root.json (1 is the pin), <n>.targets.json, root.json and targets.json (newest),
    authorities-<sha256>.json

Metadata is written before it is uploaded, so that a lost upload is repeated with the same bytes. Where a threshold
needs people elsewhere, their public keys are given, `add_signature` collects theirs, and upload comes last.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fleet_protocol.documents.authorities import AUTHORITIES_PATH, Authorities, AuthorityKey
from fleet_protocol.documents.fleet import OnlineKeys
from fleet_protocol.documents.release import role_name
from fleet_protocol.trust.keys import FileSigner, PublicKey, Signer, generate_ed25519
from fleet_protocol.trust.metadata_rules import as_root, as_targets, parse_role
from fleet_protocol.trust.tuf_api import DelegatedRole, Delegations, Metadata, Role, Root, TargetFile, Targets
from fleet_protocol.trust.tuf_keys import TufSigner, tuf_key
from fleet_protocol.wire import bounds
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import RoadsteadError
from fleet_release.trust.server import MetadataServer

ROOT_LIFE = timedelta(days=365)
TARGETS_LIFE = timedelta(days=365)
Metadata_ = Metadata[Any]


class CeremonyError(RoadsteadError):
    """The trust directory does not allow what was asked."""

    phase = "making trust"
    component = "trust directory"
    code = "E0220"


@dataclass(frozen=True)
class KeySet:
    """Who signs a role: the key in the trust directory, others elsewhere, and how many of them are needed."""

    threshold: int = 1
    others: tuple[PublicKey, ...] = field(default=())


class TrustDirectory:
    """The engineer's keys, and the newest root and targets."""

    def __init__(self, folder: Path, passphrase_file: Path | None = None) -> None:
        self.folder = folder
        self._passphrase = None if passphrase_file is None else _passphrase(passphrase_file)

    def signer(self, name: str) -> FileSigner:
        """The key `root`, `targets` or `release-<app>`. Raises CeremonyError if it is not here."""
        path = self._key(name)
        if not path.exists():
            raise CeremonyError(f"{path} is not there", element=name)
        return FileSigner(path, self._passphrase)

    def release_signer(self, app: str) -> FileSigner:
        """The key of an app's role."""
        return self.signer(f"release-{app}")

    def root_v1(self) -> bytes:
        """The pin of everything: root version 1."""
        return self._read("1.root.json")

    def create(
        self, online: OnlineKeys, now: datetime, *, root: KeySet | None = None, targets: KeySet | None = None
    ) -> None:
        """New keys for root and targets, root version 1 and targets version 1. Refuses a directory that has a root."""
        if (self.folder / "root.json").exists():
            raise CeremonyError("there is a trust root already", element=str(self.folder))
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root, targets = root or KeySet(), targets or KeySet()
        keys = {
            "root": ((self._made("root").public, *root.others), root.threshold),
            "targets": ((self._made("targets").public, *targets.others), targets.threshold),
            "snapshot": ((PublicKey(online.snapshot.encode()),), 1),
            "timestamp": ((PublicKey(online.timestamp.encode()),), 1),
        }
        authorities = Authorities(
            director=(AuthorityKey(public_pem=online.director),), time=(AuthorityKey(public_pem=online.time),)
        ).to_bytes()
        first = Targets(1, expires=_expiry(now, TARGETS_LIFE), delegations=Delegations({}, {}))
        first.targets[AUTHORITIES_PATH] = self._authorities_target(authorities)
        self._keep("targets", self._signed("targets", Metadata(first)))
        # Last, because its presence means that all of the above is there.
        self._keep("root", self._signed("root", Metadata(_new_root(1, _expiry(now, ROOT_LIFE), keys))))

    def add_app(self, app: str, now: datetime, release: KeySet | None = None) -> None:
        """Delegate `releases/<app>/*` to a key of its own: a new version of targets. Nothing if it is delegated."""
        if not bounds.matches(bounds.NAME_PATTERN, app):
            raise CeremonyError("is not an app's name", element=app)
        signed = as_targets(self._parsed("targets"))
        delegations = signed.delegations or Delegations({}, {})
        if role_name(app) in (delegations.roles or {}):
            return
        release = release or KeySet()
        keys = [tuf_key(k) for k in (self._made(f"release-{app}").public, *release.others)]
        role = DelegatedRole(
            role_name(app), [k.keyid for k in keys], release.threshold, terminating=True, paths=[f"releases/{app}/*"]
        )
        delegations.keys.update({k.keyid: k for k in keys})
        delegations.roles = {**(delegations.roles or {}), role.name: role}
        signed.delegations = delegations
        self._next_targets(signed, now)

    def replace_release_keys(self, app: str, now: datetime, keys: tuple[PublicKey, ...], threshold: int = 1) -> None:
        """After a theft: others sign `app` from now on, and what the old key signed is worth nothing."""
        signed = as_targets(self._parsed("targets"))
        roles = signed.delegations.roles if signed.delegations else None
        if signed.delegations is None or roles is None or role_name(app) not in roles:
            raise CeremonyError("no such delegation", element=role_name(app))
        new = {k.keyid: k for k in map(tuf_key, keys)}
        roles[role_name(app)].keyids = list(new)
        roles[role_name(app)].threshold = threshold
        used = {k for role in roles.values() for k in role.keyids}
        signed.delegations.keys = {i: k for i, k in {**signed.delegations.keys, **new}.items() if i in used}
        self._next_targets(signed, now)

    def replace_authorities(self, authorities: Authorities, now: datetime) -> None:
        """Other director, time or recovery keys: a new version of targets."""
        data = authorities.to_bytes()
        signed = as_targets(self._parsed("targets"))
        signed.targets[AUTHORITIES_PATH] = self._authorities_target(data)
        self._next_targets(signed, now)

    def renew_targets(self, now: datetime) -> None:
        """The same once more, with a year to live."""
        self._next_targets(as_targets(self._parsed("targets")), now)

    def renew_root(self, now: datetime, online: OnlineKeys | None = None) -> None:
        """Root version N+1: the same keys, or new on-line keys, signed by the keys of N."""
        signed = as_root(self._parsed("root"))
        keys = {name: ([signed.keys[i] for i in role.keyids], role.threshold) for name, role in signed.roles.items()}
        for name, pem in (("snapshot", online.snapshot), ("timestamp", online.timestamp)) if online else ():
            keys[name] = ([tuf_key(PublicKey(pem.encode()))], 1)
        signed = Root(
            signed.version + 1,
            expires=_expiry(now, ROOT_LIFE),
            keys={k.keyid: k for held, _ in keys.values() for k in held},
            roles={name: Role([k.keyid for k in held], threshold) for name, (held, threshold) in keys.items()},
        )
        self._keep("root", self._signed("root", Metadata(signed)))

    def add_signature(self, role: str, signer: Signer) -> None:
        """One more signature under the newest root or targets."""
        parsed = self._parsed(role)
        parsed.sign(TufSigner(signer), append=True)
        self._keep(role, parsed.to_bytes())

    def upload(self, server: MetadataServer) -> dict[str, int]:
        """Bring the server to the newest root and targets; what it has already is left. Role -> version."""
        newest = {role: self._parsed(role).signed.version for role in ("root", "targets")}
        for role, last in newest.items():
            for version in range(1, last + 1):
                data = self._read(f"{version}.{role}.json")
                if server.get_metadata(f"{version}.{role}") == data:
                    continue
                if role == "targets":
                    sha256 = as_targets(parse_role(role, data)).targets[AUTHORITIES_PATH].hashes["sha256"]
                    server.put_target(sha256, self._read(f"authorities-{sha256}.json"))
                server.put_metadata(role, data, version - 1)
        return newest

    # --- inside

    def _authorities_target(self, data: bytes) -> TargetFile:
        self._write(f"authorities-{hashlib.sha256(data).hexdigest()}.json", data)
        return TargetFile.from_data(AUTHORITIES_PATH, data, ["sha256"])

    def _next_targets(self, signed: Targets, now: datetime) -> None:
        signed.version += 1
        signed.expires = _expiry(now, TARGETS_LIFE)
        self._keep("targets", self._signed("targets", Metadata(signed)))

    def _signed(self, role: str, metadata: Metadata_) -> bytes:
        metadata.sign(TufSigner(self.signer(role)))
        data = metadata.to_bytes()
        parse_role(role, data)
        return data

    def _parsed(self, role: str) -> Metadata_:
        return parse_role(role, self._read(f"{role}.json"))

    def _made(self, name: str) -> FileSigner:
        if not self._key(name).exists():
            generate_ed25519(self._key(name), self._passphrase)
        return self.signer(name)

    def _key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise CeremonyError(f"{name} is not there", element=str(self.folder), hint="fleet trust init") from error

    def _keep(self, role: str, data: bytes) -> None:
        """The numbered file first: the other names the newest, and everything below it is there."""
        self._write(f"{parse_role(role, data).signed.version}.{role}.json", data)
        self._write(f"{role}.json", data)

    def _write(self, name: str, data: bytes) -> None:
        replace_durably(self.folder / name, data, 0o644)


def _new_root(version: int, expires: datetime, keys: dict[str, tuple[tuple[PublicKey, ...], int]]) -> Root:
    held = {name: ([tuf_key(p) for p in public], threshold) for name, (public, threshold) in keys.items()}
    return Root(
        version,
        expires=expires,
        keys={k.keyid: k for keys_, _ in held.values() for k in keys_},
        roles={name: Role([k.keyid for k in keys_], threshold) for name, (keys_, threshold) in held.items()},
    )


def _passphrase(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise CeremonyError(f"{path} may be read by others: chmod 600 {path}", element="passphrase")
    data = path.read_bytes().rstrip(b"\r\n")
    if not data:
        raise CeremonyError(f"{path} is empty", element="passphrase")
    return data


def _expiry(now: datetime, life: timedelta) -> datetime:
    return (now.astimezone(UTC) + life).replace(microsecond=0)
