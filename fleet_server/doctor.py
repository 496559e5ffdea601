"""`fleet-server doctor`: is this directory a server that can work? It only looks."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet_protocol.trust.repository import Repository
from fleet_protocol.wire.errors import RoadsteadError
from fleet_server import audit_heads
from fleet_server.backup import store_damage
from fleet_server.broker_files import broker_directory
from fleet_server.build import load_keys
from fleet_server.config import Layout, load_config
from fleet_server.init import tls_serves
from fleet_server.store.sqlite import open_store
from provisioning.authority.ca import DeviceCa

SECRETS = ("ca/ca.key", "tls/server.key", "server.db", "admin.token")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    good: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok ' if self.good else 'BAD'}  {self.text}"


def examine(layout: Layout, now: int) -> Iterator[Finding]:
    """Findings, in the order in which they would hinder. Raises RoadsteadError where looking further makes no sense."""
    config = load_config(layout)
    yield Finding(True, f"server.toml: {config.url}, broker {config.broker_host}:{config.broker_port}")
    for name in SECRETS:
        yield _secret(layout.base / name)
    keys = load_keys(layout)
    authority = DeviceCa.load(layout.ca)
    yield Finding(True, f"keys and CA are readable; CA {authority.sha256}")
    serves = tls_serves(layout, config, now)
    yield Finding(
        serves, "HTTPS certificate " + ("holds all names" if serves else "must be renewed: restart the server")
    )
    try:
        version = Repository(layout.tuf, keys.snapshot, keys.timestamp).version("root")
        yield Finding(
            version > 0, f"trust root: version {version}" if version else "no trust root yet: fleet trust init"
        )
    except RoadsteadError as error:
        yield Finding(False, error.sentence())
    damage = store_damage(layout.store)
    yield Finding(damage is None, "store: " + (damage or "sound"))
    store = open_store(layout.store)
    try:
        yield Finding(True, f"store: {len(store.active_device_ids())} devices, {len(store.fleets())} fleets")
        fault = audit_heads.check(layout.audit_heads, store, keys.director.public)
        yield Finding(fault is None, "audit log: " + (fault or f"{store.audit_head()[0]} rows, unbroken"))
    finally:
        store.close()
    broker = broker_directory(layout, config, authority)
    running = broker.process.runs()
    yield Finding(running, "broker runs" if running else f"no broker runs: mosquitto -c {broker.folder}/mosquitto.conf")


def _secret(path: Path) -> Finding:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        # The admin's token may well have been moved to where it is used.
        return Finding(path.name == "admin.token", f"{path.name} is not there")
    return Finding(not mode & 0o077, f"{path.name} has mode {mode:04o}")
