"""The server's side of TUF: a directory that takes off-line signed roles and answers with snapshot and timestamp.

    metadata/<n>.root.json, <n>.targets.json, <n>.release%2F<app>.json, <n>.snapshot.json, timestamp.json
    targets/<sha256>            target bytes, by content
    names/<quoted path>         the one hash that a release path ever had

The server holds two keys, snapshot and timestamp; everything else is signed elsewhere and only checked here. A put
becomes visible in one step: `timestamp.json` is replaced last (`<n>.root.json` for root), and what a crash left
before that is not referenced by anything and written again. Calls are serialised by a lock; they block on fsync, so
an asyncio server runs them in a thread.
"""

from __future__ import annotations

import hashlib
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuf.api.exceptions import RepositoryError

from fleet_protocol.documents.authorities import AUTHORITIES_PATH, Authorities
from fleet_protocol.documents.fleet import RoleVersion
from fleet_protocol.documents.release import Release, target_path
from fleet_protocol.trust.errors import ExpiredError, MetadataError, NotThereError, RoleConflictError
from fleet_protocol.trust.keys import Signer
from fleet_protocol.trust.metadata_rules import (
    app_of,
    as_root,
    as_targets,
    check_successor,
    is_role,
    live_releases,
    parse_role,
)
from fleet_protocol.trust.tuf_api import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire import bounds
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import DocumentInvalidError

SNAPSHOT_LIFE = timedelta(days=7)
TIMESTAMP_LIFE = timedelta(days=1)
KEPT_SNAPSHOTS = 16
_ROLE = rf"root|snapshot|targets|release/{bounds.NAME_PATTERN}"
_NAME = re.compile(rf"timestamp|(?P<version>[1-9][0-9]{{0,15}})\.(?P<role>{_ROLE})")
_TARGET = re.compile(rf"(?:[a-z0-9-]+/)+(?P<sha256>{bounds.SHA256_PATTERN})\.[0-9A-Za-z.+-]{{1,80}}")
_OFFLINE = ("root", "targets")


class Repository:
    """TUF metadata and targets in one directory."""

    def __init__(self, directory: Path, snapshot: Signer, timestamp: Signer) -> None:
        """Makes `directory` if it is not there. Raises MetadataError if what it holds is damaged."""
        self._metadata = directory / "metadata"
        self._targets = directory / "targets"
        self._names = directory / "names"
        for folder in (self._metadata, self._targets, self._names):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._signers = {"snapshot": TufSigner(snapshot), "timestamp": TufSigner(timestamp)}
        self._lock = threading.Lock()
        self._root = self._load_root()
        self._timestamp, self._snapshot = self._load_online()

    # --- reading

    def load(self, name: str) -> bytes | None:
        """The bytes of `GET /tuf/metadata/{name}.json`: `timestamp`, `3.snapshot`, `2.release/cam`, `1.root`."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        if found["role"] is None:
            return _read(self._file("timestamp", None))
        # What a crash left above the current version was never led to, and may still change.
        number = int(found["version"])
        return _read(self._file(found["role"], number)) if number <= self.version(found["role"]) else None

    def target(self, path_with_hash: str) -> bytes | None:
        """The bytes of `GET /tuf/targets/{path}`, e.g. `releases/cam/<sha256>.1.9.0.json`."""
        found = _TARGET.fullmatch(path_with_hash)
        return None if found is None else _read(self._targets / found["sha256"])

    def version(self, role: str) -> int:
        """The version of `role` that clients are led to, 0 for none."""
        if role == "root":
            return self._root.version if self._root else 0
        if role in ("snapshot", "timestamp"):
            signed = self._snapshot if role == "snapshot" else self._timestamp
            return signed.version if signed else 0
        meta = self._snapshot.meta.get(f"{role}.json") if self._snapshot else None
        return meta.version if meta else 0

    def current(self, role: str) -> bytes | None:
        """The bytes of that version."""
        number = self.version(role)
        return _read(self._file(role, None if role == "timestamp" else number)) if number else None

    def releases(self) -> dict[str, dict[str, Release]]:
        """App -> version -> release, of everything that current roles list."""
        out: dict[str, dict[str, Release]] = {}
        for name in self._snapshot.meta if self._snapshot else ():
            role = name.removesuffix(".json")
            if role in _OFFLINE:
                continue
            signed = self._signed_targets(role)
            lines = live_releases(role, signed) if signed else {}
            out[app_of(role)] = {v: Release.parse(self._target_bytes(line.sha256)) for v, line in lines.items()}
        return out

    # --- writing

    def put_target(self, sha256: str, data: bytes) -> None:
        """Keep target bytes, before the role that lists them. Raises DocumentInvalidError if they are others."""
        if len(data) > bounds.MAX_RELEASE_BYTES:
            raise DocumentInvalidError(f"{len(data)} bytes, at most {bounds.MAX_RELEASE_BYTES}", element="target")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DocumentInvalidError(
                "the bytes have another hash than the address says", element=f"target {sha256[:80]}"
            )
        if not (self._targets / sha256).exists():
            replace_durably(self._targets / sha256, data)

    def put_role(self, role: str, data: bytes, replaces: int, now: datetime) -> RoleVersion:
        """Take a new `root`, `targets` or `release/<app>` and lead clients to it.

        The same bytes again are no conflict (an answer was lost). Raises RoleConflictError if `replaces` is not the
        current version, MetadataError for what is not signed, not one above, or not what it may be.
        """
        if role in ("snapshot", "timestamp") or not is_role(role):
            raise MetadataError("cannot be uploaded", element=role)
        with self._lock:
            current = self.version(role)
            if current and replaces != current and self.current(role) == data:
                return self._answer(role)
            if replaces != current:
                raise RoleConflictError(
                    f"the upload replaces version {replaces}, and the current one is {current}", element=role
                )
            parsed = parse_role(role, data)
            if parsed.signed.version != current + 1:
                raise MetadataError(f"version {parsed.signed.version} does not follow {current}", element=role)
            if parsed.signed.is_expired(now):
                raise ExpiredError(f"expired on {parsed.signed.expires:%Y-%m-%d %H:%M} UTC", element=role)
            if role == "root":
                self._put_root(parsed, data, now)
            else:
                self._put_targets(role, parsed, data, now)
            return self._answer(role)

    def refresh_timestamp(self, now: datetime, *, force: bool = False) -> bool:
        """Sign timestamp, and snapshot when due, again; True if it did. Call it hourly and at start.

        Without `force`, only when less than half of a life is left or root has new on-line keys.
        """
        with self._lock:
            if self._root is None or self._snapshot is None or self._timestamp is None:
                return False
            if not _is_signed(self._root, "snapshot", self._current_metadata("snapshot")) or _due(
                self._snapshot, SNAPSHOT_LIFE, now
            ):
                self._publish(dict(self._snapshot.meta), now)
                return True
            stale = not _is_signed(self._root, "timestamp", self._current_metadata("timestamp"))
            if force or stale or _due(self._timestamp, TIMESTAMP_LIFE, now):
                self._sign_timestamp(self._snapshot.version, now)
                return True
            return False

    # --- what a put checks

    def _put_root(self, parsed: Metadata[Any], data: bytes, now: datetime) -> None:
        new = as_root(parsed)
        # Threshold of the old keys and of the new ones: nobody takes a root over with new keys alone.
        for by in (self._root, new) if self._root else (new,):
            _verify(by, "root", parsed)
        for name, signer in self._signers.items():
            if signer.public_key.keyid not in new.roles[name].keyids or new.roles[name].threshold != 1:
                raise MetadataError(f"does not name this server's {name} key, alone sufficient", element="root")
        replace_durably(self._file("root", new.version), data)
        self._root = new
        if self._snapshot is not None:
            self._publish(dict(self._snapshot.meta), now)

    def _put_targets(self, role: str, parsed: Metadata[Any], data: bytes, now: datetime) -> None:
        if self._root is None:
            raise MetadataError("there is no root yet: upload root first", element=role)
        signed = as_targets(parsed)
        if role == "targets":
            _verify(self._root, role, parsed)
            self._check_authorities(signed)
        else:
            delegator = self._signed_targets("targets")
            if delegator is None or delegator.delegations is None or role not in (delegator.delegations.roles or {}):
                raise MetadataError("targets delegates no such role", element=role)
            _verify(delegator, role, parsed)
            check_successor(role, self._binding_predecessor(role, delegator), signed)
            self._check_releases(role, signed)
        replace_durably(self._file(role, signed.version), data)
        meta = dict(self._snapshot.meta) if self._snapshot else {}
        meta[f"{role}.json"] = _meta_file(signed.version, data)
        self._publish(meta, now)

    def _binding_predecessor(self, role: str, delegator: Targets) -> Targets:
        """The current version, if the role's present keys signed it; what replaced keys signed binds nobody."""
        data = self.current(role)
        if data is None:
            return Targets()
        parsed = parse_role(role, data)
        return as_targets(parsed) if _is_signed(delegator, role, parsed) else Targets()

    def _check_authorities(self, targets: Targets) -> None:
        listed = targets.targets.get(AUTHORITIES_PATH)
        if listed is None:
            raise MetadataError(f"does not list {AUTHORITIES_PATH}", element="targets")
        Authorities.parse(self._target_bytes(listed.hashes["sha256"]))

    def _check_releases(self, role: str, signed: Targets) -> None:
        app = app_of(role)
        lines = live_releases(role, signed)
        for version, line in lines.items():
            release = Release.parse(self._target_bytes(line.sha256))
            if (release.app, release.version, release.release_counter) != (app, version, line.counter):
                raise MetadataError(f"lists {app} {version}, and the document says otherwise", element=role)
            known = _read(self._name(app, version))
            if known is not None and known.decode() != line.sha256:
                raise MetadataError(f"{version} was released before with other content", element=role)
        for version, line in lines.items():
            if not self._name(app, version).exists():
                replace_durably(self._name(app, version), line.sha256.encode())

    # --- signing

    def _publish(self, meta: dict[str, MetaFile], now: datetime) -> None:
        """A new snapshot, and then the timestamp that leads to it."""
        version = self.version("snapshot") + 1
        self._check_keys()
        signed = Snapshot(version, expires=_expiry(now, SNAPSHOT_LIFE), meta=meta)
        data = _signed_bytes(signed, self._signers["snapshot"])
        replace_durably(self._file("snapshot", version), data)
        self._snapshot = signed
        self._sign_timestamp(version, now)
        self._file("snapshot", max(version - KEPT_SNAPSHOTS, 0)).unlink(missing_ok=True)

    def _sign_timestamp(self, snapshot_version: int, now: datetime) -> None:
        data = _read(self._file("snapshot", snapshot_version))
        if data is None:
            raise MetadataError("the snapshot is gone from the directory", element="snapshot")
        version = self.version("timestamp") + 1
        meta = _meta_file(snapshot_version, data)
        signed = Timestamp(version, expires=_expiry(now, TIMESTAMP_LIFE), snapshot_meta=meta)
        replace_durably(self._file("timestamp", None), _signed_bytes(signed, self._signers["timestamp"]))
        self._timestamp = signed

    def _check_keys(self) -> None:
        for name, signer in self._signers.items():
            if self._root is None or signer.public_key.keyid not in self._root.roles[name].keyids:
                raise MetadataError(f"this server's {name} key is not the one that root names", element=name)

    # --- files

    def _load_root(self) -> Root | None:
        newest: Root | None = None
        number = 1
        while (data := _read(self._file("root", number))) is not None:
            newest = as_root(parse_role("root", data))
            number += 1
        return newest

    def _load_online(self) -> tuple[Timestamp | None, Snapshot | None]:
        data = _read(self._file("timestamp", None))
        if data is None:
            return None, None
        timestamp: Timestamp = parse_role("timestamp", data).signed
        meta = timestamp.snapshot_meta
        data = _read(self._file("snapshot", meta.version))
        try:
            meta.verify_length_and_hashes(data or b"")
        except RepositoryError as error:
            raise MetadataError("is not the one that timestamp names", element="snapshot") from error
        return timestamp, parse_role("snapshot", data or b"").signed

    def _current_metadata(self, role: str) -> Metadata[Any]:
        return parse_role(role, self.current(role) or b"")

    def _signed_targets(self, role: str) -> Targets | None:
        data = self.current(role)
        return None if data is None else as_targets(parse_role(role, data))

    def _target_bytes(self, sha256: str) -> bytes:
        data = _read(self._targets / sha256)
        if data is None:
            raise NotThereError("is listed and was not uploaded before", element=f"target {sha256}")
        return data

    def _file(self, role: str, version: int | None) -> Path:
        name = quote(role, safe="")
        return self._metadata / (f"{name}.json" if version is None else f"{version}.{name}.json")

    def _name(self, app: str, version: str) -> Path:
        return self._names / quote(target_path(app, version), safe="")

    def _answer(self, role: str) -> RoleVersion:
        return RoleVersion(role=role, version=self.version(role), snapshot_version=self.version("snapshot"))


def _verify(delegator: Root | Targets | None, role: str, parsed: Metadata[Any]) -> None:
    if delegator is None:
        raise MetadataError("there is no root yet", element=role)
    try:
        delegator.verify_delegate(role, parsed.signed_bytes, parsed.signatures)
    except (RepositoryError, ValueError) as error:
        raise MetadataError(f"is not signed by enough of its keys ({error})", element=role) from error


def _is_signed(delegator: Root | Targets | None, role: str, parsed: Metadata[Any]) -> bool:
    try:
        _verify(delegator, role, parsed)
    except MetadataError:
        return False
    return True


def _meta_file(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, length=len(data), hashes={"sha256": hashlib.sha256(data).hexdigest()})


def _signed_bytes(signed: Snapshot | Timestamp, signer: TufSigner) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    metadata.sign(signer)
    return metadata.to_bytes()


def _expiry(now: datetime, life: timedelta) -> datetime:
    return (now.astimezone(UTC) + life).replace(microsecond=0)


def _due(signed: Snapshot | Timestamp, life: timedelta, now: datetime) -> bool:
    return signed.expires - now < life / 2


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
