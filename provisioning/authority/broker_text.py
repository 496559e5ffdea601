"""The broker's configuration and access list, as text. Pure.

What shapes them was measured on mosquitto 2.0.11: a CRL is always configured, because without one the CA bundle is
not reloaded either; the user name is the certificate's common name, and the client identifier is the user name, or
one device could kick another; every device has a block of its own, because removing the block ends a live session's
rights at once, which revoking its certificate does not; and no topic is shared by devices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet_protocol.wire.topics import FROM_DEVICE, PREFIX, TO_DEVICE, topic

SERVER_NAME = "roadstead-server"
CANARY_NAME = "roadstead-canary"
REVOKED_CANARY_NAME = "roadstead-canary-revoked"
CANARY_TOPIC = "roadstead/canary"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What an owner may choose."""

    listen_address: str
    port: int
    names: tuple[str, ...]  # DNS names and IP addresses that its certificate holds
    run_as: str | None  # the user that mosquitto becomes when it is started as root
    tls13_only: bool = True
    memory_bytes: int = 512 * 1024 * 1024
    max_packet_bytes: int = 256 * 1024
    # For each client. The server's own queue must hold what a whole fleet says when it comes back; bytes bound it.
    max_queued_messages: int = 20_000
    max_queued_bytes: int = 16 * 1024 * 1024
    max_inflight: int = 20
    max_keepalive_s: int = 120


def configuration(settings: BrokerSettings, folder: Path) -> str:
    """mosquitto.conf."""
    lines = [
        "# Written by fleet-server, and written again when it starts.",
        "per_listener_settings false",
        f"listener {settings.port} {settings.listen_address}",
        f"cafile {folder}/ca.pem",
        f"crlfile {folder}/crl.pem",
        f"certfile {folder}/server.pem",
        f"keyfile {folder}/server.key",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        f"tls_version {'tlsv1.3' if settings.tls13_only else 'tlsv1.2'}",
        "allow_anonymous false",
        f"acl_file {folder}/acl",
        f"max_packet_size {settings.max_packet_bytes}",
        f"max_queued_messages {settings.max_queued_messages}",
        f"max_queued_bytes {settings.max_queued_bytes}",
        f"max_inflight_messages {settings.max_inflight}",
        f"max_keepalive {settings.max_keepalive_s}",
        f"memory_limit {settings.memory_bytes}",
        "persistent_client_expiration 14d",
        "retain_available true",
        # Cheap hygiene, not durability: mosquitto lost all of what it had acknowledged when it was killed.
        "persistence true",
        f"persistence_location {folder}/data/",
        "autosave_on_changes true",
        "autosave_interval 100",
        f"pid_file {folder}/mosquitto.pid",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
    ]
    if settings.run_as:
        lines.append(f"user {settings.run_as}")
    return "\n".join(lines) + "\n"


def access_list(device_ids: Iterable[str], mark: str) -> str:
    """The acl file: one block for each active device.

    `mark` names this very list: the canary may publish to the topic of that name only, and so finds out whether the
    broker has read it.
    """
    channels = (*TO_DEVICE, *FROM_DEVICE)
    blocks = [
        "# Written by fleet-server. A name that is not here may neither publish nor receive anything.",
        _block(SERVER_NAME, [f"readwrite {PREFIX}/+/{channel.value}" for channel in channels]),
        _block(CANARY_NAME, [f"readwrite {canary_topic(mark)}"]),
    ]
    for device_id in sorted(device_ids):
        rights = [f"write {topic(device_id, channel)}" for channel in FROM_DEVICE]
        rights += [f"read {topic(device_id, channel)}" for channel in TO_DEVICE]
        blocks.append(_block(device_id, rights))
    return "\n\n".join(blocks) + "\n"


def canary_topic(mark: str) -> str:
    """Where the good canary publishes while the list with this mark is in force."""
    return f"{CANARY_TOPIC}/{mark}"


def _block(name: str, rights: list[str]) -> str:
    return "\n".join([f"user {name}", *(f"topic {right}" for right in rights)])
