"""Puts a server together from its directory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fleet_protocol.trust.keys import FileSigner
from fleet_protocol.trust.repository import Repository
from fleet_server.audit_heads import head_lines
from fleet_server.blobs import BlobStore
from fleet_server.board.board import Board
from fleet_server.broker_files import IdentityFeed, broker_directory
from fleet_server.config import Layout, ServerConfig, load_config
from fleet_server.controller.controller import Controller
from fleet_server.controller.desk import Desk
from fleet_server.director import Director
from fleet_server.mqtt.intake import Intake
from fleet_server.mqtt.link import BrokerAccess, Link
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.releases import Catalogue
from fleet_server.services import Keys, Services
from fleet_server.sessions import Sessions
from fleet_server.store.sqlite import open_store
from fleet_server.version import VERSION
from provisioning.authority.broker_files import BrokerDirectory
from provisioning.authority.ca import DeviceCa
from provisioning.authority.enrolment import EnrolmentDesk, Offer
from provisioning.authority.nonces import Nonces


@dataclass(frozen=True, slots=True)
class Server:
    """All of a server, not started."""

    layout: Layout
    config: ServerConfig
    services: Services
    link: Link
    feed: IdentityFeed
    broker: BrokerDirectory


def load_keys(layout: Layout) -> Keys:
    """The four on-line keys. Raises RoadsteadError if one is missing, damaged or readable by others."""
    return Keys(*(FileSigner(layout.keys / f"{name}.key") for name in ("director", "time", "snapshot", "timestamp")))


def build(layout: Layout) -> Server:
    """Raises RoadsteadError that says what is wrong with the directory; nothing is repaired silently."""
    config = load_config(layout)
    keys = load_keys(layout)
    authority = DeviceCa.load(layout.ca)
    store = open_store(layout.store)
    repository = Repository(layout.tuf, keys.snapshot, keys.timestamp)
    catalogue = Catalogue(repository)
    queue = DesiredQueue()
    board = Board(store, time.time)

    def desired_changed(names: Iterable[str]) -> None:
        names = list(names)
        board.touch(names)
        queue.put(names)

    def heard(names: Iterable[str]) -> None:
        names = list(names)
        board.touch(names)
        controller.heard(names)

    director = Director(store, keys.director, catalogue.facts, desired_changed)
    controller = Controller(store, director, catalogue.facts)
    intake = Intake(store, queue, director.overtake, heard)
    broker = broker_directory(layout, config, authority)
    access = BrokerAccess(*config.broker_here, layout.broker / "ca.pem", broker.server_certificate, broker.server_key)
    link = Link(access, intake, queue, store.desired_rows, lambda: list(store.desired_rows()))
    nonces = Nonces()

    def status() -> dict[str, Any]:
        return {
            "version": VERSION,
            "broker": {"connected": link.connected, "waiting": queue.waiting()},
            "counts": dict(intake.counts),
            "dropped": dict(intake.dropped),
            "devices": len(store.active_device_ids()),
            "audit_rows": store.audit_head()[0],
        }

    def root() -> str | None:
        data = repository.load("1.root")
        return data.decode() if data else None

    def identities_changed() -> None:
        feed.changed()

    offer = Offer(config.url, config.broker_host, config.broker_port, root)
    services = Services(
        store=store,
        keys=keys,
        authority=authority,
        desk=EnrolmentDesk(store, authority, nonces, offer, identities_changed),
        director=director,
        rollouts=controller,
        desk_of_rollouts=Desk(controller),
        repository=repository,
        blobs=BlobStore(layout.blobs),
        nonces=nonces,
        sessions=Sessions(),
        status=status,
        ask=queue.ask,
        board=board,
        audit_heads=lambda: head_lines(layout.audit_heads),
    )
    feed = IdentityFeed(store, broker, services.now)
    return Server(layout, config, services, link, feed, broker)
