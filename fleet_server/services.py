"""The server's parts, put together once and passed to who needs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fleet_protocol.trust.keys import Signer
from fleet_protocol.trust.repository import Repository
from fleet_server.blobs import BlobStore
from fleet_server.board.board import Board
from fleet_server.controller.controller import Controller
from fleet_server.controller.desk import Desk
from fleet_server.director import Director
from fleet_server.sessions import Sessions
from fleet_server.store.api import Store
from fleet_server.store.records import AuditEntry
from provisioning.authority.ca import DeviceCa
from provisioning.authority.enrolment import EnrolmentDesk
from provisioning.authority.nonces import Nonces
from provisioning.authority.ratelimit import RateLimit


@dataclass(frozen=True, slots=True)
class Keys:
    """What the server signs with. Each is a signer: a file now, something that holds the key better later."""

    director: Signer
    time: Signer
    snapshot: Signer
    timestamp: Signer


@dataclass(frozen=True, slots=True)
class Limits:
    """How often somebody who has not proven anything yet may try, from one address and from all; and how often anybody
    whom we know may ask, by name, and is written down with what was refused."""

    address: RateLimit = field(default_factory=lambda: RateLimit(10.0, 100))
    everybody: RateLimit = field(default_factory=lambda: RateLimit(200.0, 2000, keys=8))
    refusals: RateLimit = field(default_factory=lambda: RateLimit(1.0, 60, keys=20_000))
    caller: RateLimit = field(default_factory=lambda: RateLimit(50.0, 200, keys=20_000))


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a request may need."""

    store: Store
    keys: Keys
    authority: DeviceCa
    desk: EnrolmentDesk
    director: Director
    rollouts: Controller
    desk_of_rollouts: Desk
    repository: Repository
    blobs: BlobStore
    nonces: Nonces
    sessions: Sessions
    status: Callable[[], dict[str, Any]]
    ask: Callable[[Iterable[str]], None]  # these devices look for withdrawals now
    board: Board
    audit_heads: Callable[[], bytes]  # the file of signed heads
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.time

    def now(self) -> int:
        """Unix time in whole seconds."""
        return int(self.clock())

    def record(self, who: str, action: str, element: str, **detail: Any) -> None:
        """Append to the audit log."""
        self.store.record(AuditEntry(self.now(), who, action, element, detail))
