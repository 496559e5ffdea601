"""A world of trust: real ceremony, real repository on disk, and devices that read through it.

The transport is a dictionary of overrides over the repository: a test replaces what the server would answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fleet_protocol.documents.authorities import AuthorityKey
from fleet_protocol.documents.desired import DESIRED_TYPE
from fleet_protocol.documents.enrolment import TIME_TYPE
from fleet_protocol.documents.fleet import OnlineKeys
from fleet_protocol.documents.release import Release
from fleet_protocol.trust import dsse
from fleet_protocol.trust.clock import TrustedClock
from fleet_protocol.trust.errors import NotThereError
from fleet_protocol.trust.keys import FileSigner, Signer, generate_ed25519
from fleet_protocol.trust.policy import LocalPolicy
from fleet_protocol.trust.repository import Repository
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.trust.tuf_client import Fetch, TufClient
from fleet_protocol.trust.verifier import Accepted, Verifier
from fleet_protocol.wire import strict_json
from fleet_release.trust.ceremony import TrustDirectory
from fleet_release.trust.lock import FleetLock
from fleet_release.trust.release_role import OpenRole, SignedRole, add_release, open_role, publish

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
MIB = 1024 * 1024


def new_key(folder: Path, name: str) -> FileSigner:
    path = folder / f"{name}.key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generate_ed25519(path)
    return FileSigner(path)


def release_value(app: str = "cam", version: str = "1.9.0", counter: int = 1, **over: Any) -> dict[str, Any]:
    service: dict[str, Any] = {
        "name": "web",
        "images": {"linux/amd64": {"manifest": DIGEST, "manifest_size": 500, "download_bytes": 9, "unpacked_bytes": 9}},
        "limits": {"memory_bytes": 64 * MIB, "cpu_millis": 500, "pids": 32},
    }
    service |= over.pop("service", {})
    return {
        "schema": "roadstead/release/v1",
        "app": app,
        "version": version,
        "release_counter": counter,
        "services": [service],
        "config": {"BITRATE": {"service": "web", "type": "integer", "env": "BITRATE", "default": "8"}},
        **over,
    }


def a_release(app: str = "cam", version: str = "1.9.0", **over: Any) -> Callable[[int], Release]:
    return lambda counter: Release.from_value(release_value(app, version, counter, **over))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Time:
    """A clock that stands until it is moved."""

    now: datetime = NOW
    ticks: float = 100.0

    def system(self) -> float:
        return self.now.timestamp()

    def monotonic(self) -> float:
        return self.ticks

    def move(self, **delta: float) -> None:
        self.now += timedelta(**delta)
        self.ticks += timedelta(**delta).total_seconds()


class World:
    """One server, one engineer, any number of devices."""

    def __init__(self, folder: Path, *, apps: tuple[str, ...] = ("cam",)) -> None:
        self.folder = folder
        keys = folder / "server-keys"
        self.director, self.time_key, self.snapshot, self.timestamp = (
            new_key(keys, n) for n in ("director", "time", "snapshot", "timestamp")
        )
        self.time = Time()
        self.repository = Repository(folder / "tuf", self.snapshot, self.timestamp)
        self.trust = TrustDirectory(folder / "trust")
        self.trust.create(self.online_keys(), NOW)
        for app in apps:
            self.trust.add_app(app, NOW)
        self.trust.upload(self)
        self.locks: dict[str, FleetLock] = {}
        self.root = self.trust.root_v1()

    def online_keys(self) -> OnlineKeys:
        d, t, s, m = (k.public.pem.decode() for k in (self.director, self.time_key, self.snapshot, self.timestamp))
        return OnlineKeys(director=d, time=t, snapshot=s, timestamp=m)

    # --- MetadataServer

    def get_metadata(self, name: str) -> bytes | None:
        return self.repository.load(name)

    def get_target(self, path: str) -> bytes | None:
        return self.repository.target(path)

    def put_target(self, sha256: str, data: bytes) -> None:
        self.repository.put_target(sha256, data)

    def put_metadata(self, role: str, data: bytes, if_match: int) -> dict[str, Any]:
        return self.repository.put_role(role, data, if_match, self.time.now).model_dump()

    # --- the engineer

    def opened(self, app: str = "cam", *, begin_anew: bool = False) -> OpenRole:
        root = sha256(self.root)
        return open_role(self, app, root, self.locks.get(app), now=self.time.system, begin_anew=begin_anew)

    def published(self, signed: SignedRole) -> SignedRole:
        publish(self, signed)
        self.locks[signed.app] = signed.lock
        return signed

    def release(self, version: str = "1.9.0", app: str = "cam", **over: Any) -> str:
        """Release it; the hash of its target."""
        signed = self.published(
            add_release(
                self.opened(app),
                a_release(app, version, **over),
                [self.trust.release_signer(app)],
                self.time.now,
            )
        )
        return next(iter(signed.targets))

    # --- the director

    def desired_value(self, *apps: tuple[str, str, str], **over: Any) -> dict[str, Any]:
        return {
            "schema": "roadstead/desired/v1",
            "device_id": "pump-3",
            "generation": 1,
            "issued_at": int(self.time.system()),
            "expires": int(self.time.system()) + 7 * 86400,
            "apps": [{"app": a, "release": v, "sha256": s, "config": {}} for a, v, s in apps],
            **over,
        }

    def envelope(self, value: dict[str, Any], signer: Signer | None = None, kind: str = DESIRED_TYPE) -> bytes:
        return dsse.sign(strict_json.dumps(value), kind, signer or self.director)

    def desired(self, *apps: tuple[str, str, str], **over: Any) -> bytes:
        return self.envelope(self.desired_value(*apps, **over))

    def time_statement(self, nonce: str, at: datetime, signer: Signer | None = None) -> bytes:
        return self.envelope({"nonce": nonce, "time": int(at.timestamp())}, signer or self.time_key, TIME_TYPE)

    def device(self, name: str = "pump-3", **over: Any) -> Device:
        return Device(self, name, **over)


@dataclass
class Device:
    """One host's verifier, over a database on disk. `answers` replaces what the server says, by (kind, name)."""

    world: World
    name: str = "pump-3"
    policy: LocalPolicy = field(default_factory=LocalPolicy)
    time: Time = field(default_factory=Time)
    answers: dict[tuple[str, str], bytes | Exception] = field(default_factory=dict)
    source: Fetch | None = None
    root: bytes = b""

    def __post_init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.path = self.world.folder / "devices" / self.name / "trust.db"
        self.root = self.root or self.world.root
        self.store: TrustStore | None = None
        self.boot()

    def boot(self, *, expect_existing: bool = False) -> None:
        """A new process of prepare."""
        if self.store is not None:
            self.store.close()
        self.store = TrustStore(self.path, expect_existing=expect_existing)
        self.clock = TrustedClock(self.store, system=self.time.system, monotonic=self.time.monotonic)
        self.client = TufClient(self.store, self.root, self.fetch, self.clock)
        self.verifier = Verifier(self.store, self.client, self.clock, self.name, self.policy)

    def fetch(self, kind: str, name: str, max_bytes: int) -> bytes:
        self.asked.append((kind, name, max_bytes))
        said = self.answers.get((kind, name))
        if isinstance(said, Exception):
            raise said
        if said is not None:
            return said
        if self.source is not None:
            return self.source(kind, name, max_bytes)
        data = self.world.repository.load(name) if kind == "metadata" else self.world.repository.target(name)
        if data is None:
            raise NotThereError("404", element=f"{kind} {name}")
        return data

    def verify(self, envelope: bytes) -> Any:
        """What a fresh process says."""
        self.boot()
        return self.verifier.verify(envelope)

    def take(self, envelope: bytes) -> Accepted:
        """Verify, accept and seal."""
        accepted = self.verify(envelope)
        assert isinstance(accepted, Accepted), accepted
        self.verifier.accept(accepted)
        self.verifier.sealed(accepted)
        return accepted

    def ask_time(self, nonce: str) -> bytes:
        return self.world.time_statement(nonce, self.world.time.now)

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


def authority(signer: Signer) -> AuthorityKey:
    return AuthorityKey(public_pem=signer.public.pem.decode())
