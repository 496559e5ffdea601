"""Rows as values: what the store takes and gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fleet_protocol.documents.device import Event
from fleet_server.acting import acting

Role = Literal["viewer", "installer", "operator", "releaser", "approver", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who may use the API, by one token. Only the token's hash is kept; a name is used once."""

    name: str
    role: Role
    token_sha256: str
    created_at: int
    revoked_at: int | None = None
    scope: Mapping[str, str] = field(default_factory=dict)  # labels that a device must have; empty: all devices
    expires: int | None = None
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class DesiredRow:
    """The newest desired state of one device, as signed."""

    device_id: str
    generation: int
    sha256: str  # of the signed payload
    payload: bytes
    envelope: bytes
    issued_at: int
    expires: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Generation and hash of a desired state; which is all that is compared on every contact."""

    generation: int = 0
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """What a device last said about itself in few words, and when. `last_seen` is the server's clock.

    On the way in, None leaves what is known as it is.
    """

    device_id: str
    last_seen: int | None
    online: bool
    said: Mark | None = None


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """The newest reported state, as the bytes of the document."""

    device_id: str
    received_at: int
    document: bytes


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one spool, ascending."""

    device_id: str
    spool: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Ingested:
    """One transaction of the ingest path: everything that a batch of messages said."""

    at: int
    contacts: tuple[Contact, ...] = ()
    reported: tuple[ReportedRow, ...] = ()
    events: tuple[EventBatch, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with whose it is, and its number in the order of arrival."""

    device_id: str
    received_at: int
    event: Event
    number: int = 0


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, from where and why. `detail` is small and holds no secret. Within a request, where and why
    are the request's own."""

    at: int
    who: str
    action: str
    element: str
    detail: Mapping[str, Any]
    origin: str = field(default_factory=lambda: acting.get().origin)
    why: str = field(default_factory=lambda: acting.get().why)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry in its place in the chain: `hash` covers the entry, its number and the hash before it."""

    seq: int
    entry: AuditEntry
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """An image manifest or index that was pushed to `apps/<app>`."""

    app: str
    digest: str
    media_type: str
    size: int
