"""The TUF client of hosts, release tool and server: python-tuf's `Updater` over our store, fetcher and clock.

python-tuf does the workflow (roots one by one, timestamp, snapshot, targets, delegation; thresholds, versions, hashes,
expiry). Ours are the four things around it: metadata lies in a `TrustStore` (the reference client renames files without
fsync), bytes come from one callable (HTTPS or a bundle), time comes from `TrustedClock`, and every download must have
our form (`metadata_rules`). The chain of roots always starts at the pinned version 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError

from fleet_protocol.documents.authorities import AUTHORITIES_PATH, Authorities, AuthorityKey
from fleet_protocol.documents.release import RoleExtra, role_name
from fleet_protocol.trust.clock import TrustedClock
from fleet_protocol.trust.errors import AlarmError, ExpiredError, MetadataError, NotThereError, UnsignedReleaseError
from fleet_protocol.trust.keys import PublicKey
from fleet_protocol.trust.metadata_rules import (
    ReleaseTarget,
    as_targets,
    check_step,
    live_releases,
    max_bytes,
    parse_role,
    role_extra,
)
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.trust.tuf_api import (
    FetcherInterface,
    MetaFile,
    Snapshot,
    Targets,
    Timestamp,
    Updater,
    UpdaterConfig,
)
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import UnreachableError

Fetch = Callable[[str, str, int], bytes]
"""`fetch(kind, name, max_bytes) -> bytes`; kind is `metadata` (name: `timestamp`, `3.snapshot`, `2.release/cam`,
`1.root`), `target` (`releases/cam/<sha256>.1.9.0.json`) or `value` (a SHA-256). It stops reading above `max_bytes`,
raises NotThereError for a clear "no", UnreachableError or its like for anything else."""

MAX_ROOT_ROTATIONS = 256
_BASE = "metadata:/"


@dataclass(frozen=True)
class AppRole:
    """A verified `release/<app>` role."""

    app: str
    version: int
    epoch: str  # hash of the delegation's keys and threshold
    extra: RoleExtra
    releases: dict[str, ReleaseTarget]
    expires: float


class TufClient:
    """Verified metadata and targets."""

    def __init__(self, store: TrustStore, root: bytes, fetch: Fetch, clock: TrustedClock) -> None:
        """`root`: the pinned root, version 1. Raises AlarmError if `store` was made with another one."""
        store.pin(root)
        self._store = store
        self._root = root
        self._fetch = fetch
        self._clock = clock
        self._updater: _Updater | None = None

    def refresh(self) -> None:
        """Load root, timestamp, snapshot and targets anew, and the authorities. Raises TrustError, UnreachableError.

        After an error the store holds what it held before or what was verified until then, and nothing is trusted
        through this client until a refresh succeeds.
        """
        self._updater = None
        with self._translated("metadata"):
            updater = _Updater(self._store, self._root, self._fetch, self._clock)
            updater.refresh()
            self._updater = updater
        self._load_authorities()
        self._clock.save()

    @property
    def fresh(self) -> bool:
        """Whether a refresh succeeded."""
        return self._updater is not None

    def version(self, role: str) -> int:
        """The verified version of `role`; of an app's role what snapshot says, 0 for none."""
        trusted = self._ready().trusted
        if role in ("root", "timestamp", "snapshot", "targets"):
            return int(trusted[role].version)
        meta = trusted.snapshot.meta.get(f"{role}.json")
        return meta.version if meta else 0

    def authority_keys(self, kind: str) -> tuple[PublicKey, ...]:
        """Public keys of one kind (`director`, `time`, ...) of the newest verified authorities; empty before any."""
        text = self._store.text("authorities")
        if text is None:
            return ()
        keys: tuple[AuthorityKey, ...] = getattr(Authorities.parse(text.encode()), kind)
        return tuple(PublicKey(k.public_pem.encode()) for k in keys)

    def app_role(self, app: str) -> AppRole:
        """The role that signs `app`'s releases, not expired. Raises UnsignedReleaseError if there is none."""
        role = self._delegated(app)
        with self._translated(role):
            self._ready().get_targetinfo(f"releases/{app}/-")  # loads the role; nothing has this name
        return self._app_role(app, self._ready().trusted[role])

    def app_role_of_any_age(self, app: str) -> AppRole | None:
        """The same also when expired, to be extended or read for withdrawals; None before its first version."""
        signed = self.signed_role_of_any_age(app)
        return None if signed is None else self._app_role(app, signed)

    def signed_role_of_any_age(self, app: str) -> Targets | None:
        """The signed part of that role."""
        role = self._delegated(app)
        trusted = self._ready().trusted
        meta: MetaFile | None = trusted.snapshot.meta.get(f"{role}.json")
        if meta is None:
            return None
        with self._translated(role):
            data = self._store.role(role)
            if data is None or not _fits(meta, data):
                data = self._fetch("metadata", f"{meta.version}.{role}", meta.length or max_bytes(role))
            meta.verify_length_and_hashes(data)
            parsed = parse_role(role, data)
            trusted.targets.verify_delegate(role, parsed.signed_bytes, parsed.signatures)
            if parsed.signed.version != meta.version:
                raise MetadataError(f"is version {parsed.signed.version}, snapshot says {meta.version}", element=role)
        return as_targets(parsed)

    def release(self, line: ReleaseTarget, app: str) -> bytes:
        """The bytes of a release that `app_role` lists."""
        return self._target(f"releases/{app}/{line.sha256}.{line.version}.json", line.sha256, line.length)

    def value(self, sha256: str, size: int) -> bytes:
        """A configuration value by its hash."""
        return self._by_hash("value", sha256, sha256, size)

    # --- inside

    def _ready(self) -> _Updater:
        if self._updater is None:
            self.refresh()
        if self._updater is None:
            raise MetadataError("no refresh has succeeded", element="metadata")
        return self._updater

    def _delegated(self, app: str) -> str:
        role = role_name(app)
        delegations = self._ready().trusted.targets.delegations
        if delegations is None or role not in (delegations.roles or {}):
            raise UnsignedReleaseError(f"the trust root names no one who may sign releases of {app}", element=app)
        return role

    def _app_role(self, app: str, signed: Targets) -> AppRole:
        role = role_name(app)
        delegations = self._ready().trusted.targets.delegations
        by = delegations.roles[role] if delegations and delegations.roles else None
        epoch = hashlib.sha256(strict_json.dumps([sorted(by.keyids), by.threshold] if by else [])).hexdigest()
        return AppRole(
            app,
            signed.version,
            epoch,
            role_extra(role, signed),
            live_releases(role, signed),
            signed.expires.timestamp(),
        )

    def _load_authorities(self) -> None:
        listed = self._ready().trusted.targets.targets.get(AUTHORITIES_PATH)
        if listed is None:
            raise MetadataError(f"does not list {AUTHORITIES_PATH}", element="targets")
        sha256 = listed.hashes["sha256"]
        folder, _, name = AUTHORITIES_PATH.rpartition("/")
        data = self._target(f"{folder}/{sha256}.{name}", sha256, listed.length)
        Authorities.parse(data)
        text = data.decode()
        if self._store.text("authorities") != text:
            self._store.put_text("authorities", text)

    def _target(self, path: str, sha256: str, length: int) -> bytes:
        known = self._store.target(sha256)
        if known is not None and len(known) == length:
            return known
        data = self._by_hash("target", path, sha256, length)
        self._store.put_target(data)
        return data

    def _by_hash(self, kind: str, name: str, sha256: str, length: int) -> bytes:
        data = self._fetch(kind, name, length)
        if len(data) != length or hashlib.sha256(data).hexdigest() != sha256:
            raise MetadataError("the bytes are not those that were signed for", element=name)
        return data

    @contextmanager
    def _translated(self, element: str) -> Iterator[None]:
        try:
            yield
        except ExpiredMetadataError as error:
            raise ExpiredError(
                f"{error}; the time is taken to be {self._clock.now():%Y-%m-%d %H:%M} UTC", element=element
            ) from error
        except RepositoryError as error:
            raise MetadataError(str(error), element=element) from error
        except DownloadError as error:
            raise UnreachableError(str(error), element=element, retry=True) from error
        except ValueError as error:
            raise MetadataError(str(error), element=element) from error


class _Fetcher(FetcherInterface):
    """Turns python-tuf's addresses into names for `Fetch`, and looks at form and bounds before it sees a byte."""

    def __init__(self, store: TrustStore, fetch: Fetch) -> None:
        self._store = store
        self._get = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise DownloadError(f"only metadata is fetched this way, not {url}")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        name = unquote(url.removeprefix(_BASE).removesuffix(".json"))
        role = name.partition(".")[2] or name
        most = min(max_length, max_bytes(role))
        try:
            data = self._get("metadata", name, most)
        except NotThereError as error:
            if role == "root":
                raise DownloadHTTPError(str(error), 404) from error
            raise
        if len(data) > most:
            raise MetadataError(f"{len(data)} bytes, at most {most} are allowed", element=name)
        self._check_steps(role, parse_role(role, data).signed)
        return data

    def _check_steps(self, role: str, signed: Any) -> None:
        check_step(role, self._store.role_version(role), signed.version)
        if isinstance(signed, Timestamp):
            check_step("snapshot", self._store.role_version("snapshot"), signed.snapshot_meta.version)
        elif isinstance(signed, Snapshot):
            for name, meta in signed.meta.items():
                check_step(name, self._store.role_version(name.removesuffix(".json")), meta.version)


class _Updater(Updater):
    """`Updater` that keeps everything in a TrustStore and reads no directory and no system clock."""

    def __init__(self, store: TrustStore, root: bytes, fetch: Fetch, clock: TrustedClock) -> None:
        self._store = store
        config = UpdaterConfig(
            max_root_rotations=MAX_ROOT_ROTATIONS,
            root_max_length=max_bytes("root"),
            timestamp_max_length=max_bytes("timestamp"),
            snapshot_max_length=max_bytes("snapshot"),
            targets_max_length=max_bytes("targets"),
        )
        parse_role("root", root)
        super().__init__("/nonexistent", _BASE, fetcher=_Fetcher(store, fetch), config=config, bootstrap=root)
        self._trusted_set.reference_time = clock.now()

    @property
    def trusted(self) -> Any:
        """What was verified."""
        return self._trusted_set

    def _load_local_metadata(self, rolename: str) -> bytes:
        data = self._store.role(rolename)
        if data is None:
            raise FileNotFoundError(rolename)
        return data

    def _persist_metadata(self, rolename: str, data: bytes) -> None:
        self._store.put_role(rolename, self._trusted_set[rolename].version, data)

    def _persist_root(self, version: int, data: bytes) -> None:
        self._store.put_root(version, data)

    def _persist_file(self, filename: str, data: bytes) -> None:
        raise NotImplementedError(filename)

    def _update_root_symlink(self) -> None:
        """The store knows its newest root by number."""

    def _load_root(self) -> None:
        """Known roots from the store, each verified by the one before, then newer ones from the other side."""
        for version, data in self._store.roots():
            if version > self._trusted_set.root.version:
                try:
                    self._trusted_set.update_root(data)
                except RepositoryError as error:
                    raise AlarmError(f"stored root {version} no longer verifies: {error}", element="root") from error
        first = self._trusted_set.root.version + 1
        for version in range(first, first + MAX_ROOT_ROTATIONS):
            try:
                data = self._download_metadata("root", self.config.root_max_length, version)
            except DownloadHTTPError:
                break
            self._trusted_set.update_root(data)
            self._persist_root(version, data)


def _fits(meta: MetaFile, data: bytes) -> bool:
    try:
        meta.verify_length_and_hashes(data)
    except RepositoryError:
        return False
    return True
