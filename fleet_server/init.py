"""`fleet-server init`: a server directory from nothing. An existing one is never touched."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from typing import Any

from fleet_protocol.trust.keys import generate_ed25519
from fleet_protocol.wire.durable import rename_durably, replace_durably, sync_directory
from fleet_server.broker_files import broker_directory
from fleet_server.config import Layout, ServerConfig
from fleet_server.errors import SetupError
from fleet_server.store.records import AuditEntry, Operator, Role
from fleet_server.store.sqlite import open_store
from provisioning.authority import ca as certificates
from provisioning.authority.ca import DeviceCa

KEY_NAMES = ("director", "time", "snapshot", "timestamp")


def init(layout: Layout, config: ServerConfig, now: int) -> None:
    """Make the directory as a whole or not at all. Raises SetupError if there is anything already."""
    base = layout.base
    if base.exists() and any(base.iterdir()):
        raise SetupError("it is not empty; an existing server is never overwritten", element=str(base))
    base.parent.mkdir(parents=True, exist_ok=True)
    draft = base.with_name(f".{base.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    try:
        _fill(Layout(draft), config, now)
        if base.exists():
            base.rmdir()
        # The broker becomes a user of its own and must get to its folder; everything else here is closed by itself.
        draft.chmod(0o711)
        rename_durably(draft, base)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    # The broker's files hold absolute paths, so they are made where they stay.
    store = open_store(layout.store)
    try:
        directory = broker_directory(layout, config, DeviceCa.load(layout.ca))
        directory.prepare(now)
        directory.apply(store.active_device_ids(), store.revoked_certificates(), now)
    finally:
        store.close()


def _fill(layout: Layout, config: ServerConfig, now: int) -> None:
    for folder in (layout.tls, layout.keys, layout.blobs, layout.tuf):
        folder.mkdir(mode=0o700)
    authority = DeviceCa.create(config.names[0], now)
    authority.save(layout.ca)
    make_tls(layout, config, authority, now)
    for name in KEY_NAMES:
        generate_ed25519(layout.keys / f"{name}.key")
    store = open_store(layout.store)
    try:
        token = new_operator_token()
        replace_durably(layout.admin_token, f"{token}\n".encode())
        store.add_operator(operator("admin", "admin", token, now))
        store.record(AuditEntry(now, "fleet-server init", "add operator", "admin", {"role": "admin"}))
    finally:
        store.close()
    replace_durably(layout.config, config.to_toml().encode(), 0o644)
    sync_directory(layout.base)


def make_tls(layout: Layout, config: ServerConfig, authority: DeviceCa, now: int) -> None:
    """The HTTPS certificate for all names, with its key."""
    key = certificates.new_key()
    issued = authority.issue_server(list(config.names), key.public_key(), now)
    replace_durably(layout.tls / "server.key", certificates.private_pem(key))
    replace_durably(layout.tls / "server.pem", issued.pem.encode(), 0o644)


def tls_serves(layout: Layout, config: ServerConfig, now: int) -> bool:
    """Whether the HTTPS certificate holds all names and has life left."""
    return certificates.pair_serves(layout.tls / "server.pem", layout.tls / "server.key", now, config.names)


def new_operator_token() -> str:
    """256 bits that only their owner keeps."""
    return f"rso_{secrets.token_urlsafe(32)}"


def operator(name: str, role: Role, token: str, now: int, **more: Any) -> Operator:
    """The row for an operator with this token; `more`: scope, expires, created_by."""
    return Operator(name, role, hashlib.sha256(token.encode()).hexdigest(), now, **more)


def next_steps(layout: Layout, config: ServerConfig) -> str:
    """What a person does next, as text."""
    base: Path = layout.base
    return "\n".join(
        [
            f"The server's directory is {base}.",
            "",
            "Next, each in its own terminal:",
            f"  mosquitto -c {layout.broker}/mosquitto.conf",
            f"  fleet-server run --dir {base}",
            "and at the operator's:",
            f"  fleet ctx add lab --server {config.url} --ca-file {layout.ca}/ca.pem --token-file {layout.admin_token}",
            "",
            "The first operator's token is in this file, and nowhere else:",
        ]
    )
