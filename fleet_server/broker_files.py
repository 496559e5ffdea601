"""The broker's files follow the store: who is active, who was revoked."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Callable

from fleet_server.config import Layout, ServerConfig
from fleet_server.store.api import Store
from provisioning.authority.broker_files import BrokerDirectory
from provisioning.authority.broker_text import BrokerSettings
from provisioning.authority.ca import DeviceCa

BROKER_USER = "mosquitto"

log = logging.getLogger("roadstead.broker")


def broker_directory(layout: Layout, config: ServerConfig, authority: DeviceCa) -> BrokerDirectory:
    """The directory of the broker that this server feeds. It listens on `broker`'s address, or on all for a name."""
    try:
        listen = str(ipaddress.ip_address(config.broker_here[0]))
    except ValueError:
        listen = "0.0.0.0"  # noqa: S104 (mutual TLS guards it)
    names = tuple(dict.fromkeys((config.broker_host, *config.names)))
    run_as = BROKER_USER if os.geteuid() == 0 else None
    return BrokerDirectory(layout.broker, authority, BrokerSettings(listen, config.broker_here[1], names, run_as))


class IdentityFeed:
    """Brings the broker's files up to date; called after each commit that changes who may speak."""

    def __init__(self, store: Store, directory: BrokerDirectory, now: Callable[[], int]) -> None:
        self._store = store
        self._directory = directory
        self._now = now

    def changed(self) -> None:
        """Raises RoadsteadError if the broker does not follow."""
        done = self._directory.apply(self._store.active_device_ids(), self._store.revoked_certificates(), self._now())
        log.info("identities: %s", done.value)

    def check(self) -> None:
        """The same from scratch: at start, and daily, because a revocation list must not grow old."""
        self._directory.prepare(self._now())
        done = self._directory.check(self._store.active_device_ids(), self._store.revoked_certificates(), self._now())
        log.info("broker files: %s", done.value)
