"""What devices publish, from bytes to one transaction and the answers to it.

Nothing a device sends can do more than be dropped and counted: wrong topics, wrong names, garbage, floods. Which device
speaks is said by the topic (the broker lets each write only below its own name), and a document that names another is
garbage. What is returned after the commit: which events to acknowledge, and who is not where the store wants it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from fleet_protocol.documents.base import OpenDocument
from fleet_protocol.documents.device import Ack, Events, Presence, Reported
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_protocol.wire.topics import FROM_DEVICE, Channel, parse_topic
from fleet_server.director import is_ahead
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.mqtt.spools import SpoolGaps
from fleet_server.store.api import Store
from fleet_server.store.records import Contact, EventBatch, Ingested, Mark, ReportedRow
from fleet_server.view import concerns
from provisioning.authority.ratelimit import RateLimit

MESSAGES_PER_S = 20.0
BURST = 200
KEPT_LIMITS = 50_000
SAY_EVERY_S = 10.0

D = TypeVar("D", bound=OpenDocument)

log = logging.getLogger("roadstead.intake")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message as it came. `replayed`: the broker kept it for us, so it says nothing about now."""

    topic: str
    payload: bytes
    replayed: bool = False


@dataclass(slots=True)
class _Batch:
    """What a batch of messages comes to; later messages of a device win."""

    contacts: dict[str, Contact] = field(default_factory=dict)
    reported: dict[str, tuple[Reported, bytes]] = field(default_factory=dict)
    events: list[EventBatch] = field(default_factory=list)


class Intake:
    """Takes batches of messages; one thread calls it."""

    def __init__(
        self,
        store: Store,
        queue: DesiredQueue,
        overtake: Callable[[Mapping[str, Mark], int], object],
        heard: Callable[[Iterable[str]], object] = lambda _names: None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._overtake = overtake
        self._heard = heard  # is told whose facts are new in the store
        self._gaps = SpoolGaps()
        self._limits = RateLimit(MESSAGES_PER_S, BURST, keys=KEPT_LIMITS)
        self._said = 0.0
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def take(self, messages: Sequence[Incoming], now: float) -> list[tuple[str, Ack]]:
        """Store what `messages` say; when this returns it is durable. The acknowledgements to publish."""
        batch = _Batch()
        for message in messages:
            self._read(message, batch, now)
        names = list({*batch.contacts, *batch.reported, *(e.device_id for e in batch.events)})
        marks = self._store.marks(names)
        self._forget_strangers(batch, names, marks)
        acks = self._keep(batch, now)
        self._compare(batch, marks, now)
        self._heard(batch.contacts)
        self._say(now)
        return acks

    # --- reading

    def _read(self, message: Incoming, batch: _Batch, now: float) -> None:
        found = parse_topic(message.topic)
        if found is None or found[1] not in FROM_DEVICE:
            self._drop("topic", message.topic)
            return
        device_id, channel = found
        if not message.replayed and not self._limits.allows(device_id, now):
            self._drop("flood", device_id)
            return
        try:
            match channel:
                case Channel.REPORTED:
                    self._reported(device_id, message, batch, now)
                case Channel.EVENTS:
                    self._events(device_id, message, batch, now)
                case Channel.PRESENCE:
                    self._presence(device_id, message, batch, now)
                case _:
                    self.counts["reserved"] += 1
        except DocumentInvalidError as error:
            self._drop("garbage", f"{device_id} {channel}: {error.reason}")

    def _reported(self, device_id: str, message: Incoming, batch: _Batch, now: float) -> None:
        said = _parsed(Reported, message.payload)
        _own(said.device_id, device_id)
        batch.reported[device_id] = (said, message.payload)
        seen = None if message.replayed else int(now)
        batch.contacts[device_id] = Contact(device_id, seen, online=True, said=Mark(said.generation, said.sha256))

    def _events(self, device_id: str, message: Incoming, batch: _Batch, now: float) -> None:
        said = _parsed(Events, message.payload)
        _own(said.device_id, device_id)
        numbers = [event.seq for event in said.events]
        if numbers != sorted(set(numbers)):
            raise DocumentInvalidError("its numbers do not ascend", element="Events")
        batch.events.append(EventBatch(device_id, said.spool, said.events))
        known = batch.contacts.get(device_id)
        batch.contacts[device_id] = Contact(device_id, int(now), online=True, said=known.said if known else None)

    def _presence(self, device_id: str, message: Incoming, batch: _Batch, now: float) -> None:
        said = _parsed(Presence, message.payload)
        known = batch.contacts.get(device_id)
        # A last will is written before it is true, and so knows nothing of what was accepted meanwhile.
        mark = Mark(said.generation, said.sha256) if said.online else (known.said if known else None)
        alive = said.online and not message.replayed
        seen = int(now) if alive else (known.last_seen if known else None)
        batch.contacts[device_id] = Contact(device_id, seen, said.online, mark)

    # --- storing

    def _forget_strangers(self, batch: _Batch, names: Sequence[str], marks: Mapping[str, Mark]) -> None:
        for name in names:
            if name not in marks:
                self._drop("stranger", name)
                batch.contacts.pop(name, None)
                batch.reported.pop(name, None)
        batch.events = [e for e in batch.events if e.device_id in marks]

    def _keep(self, batch: _Batch, now: float) -> list[tuple[str, Ack]]:
        if not batch.contacts:
            return []
        at = int(now)
        stands = self._store.ingest(
            Ingested(
                at,
                tuple(batch.contacts.values()),
                tuple(ReportedRow(name, at, data) for name, (_, data) in batch.reported.items()),
                tuple(batch.events),
            )
        )
        for events in batch.events:
            self.counts["events"] += len(events.events)
            spool = (events.device_id, events.spool)
            skip = self._gaps.arrived(spool, events.events[0].seq, stands[spool], now)
            if skip is not None:
                log.warning("%s: events %d to %d never came", events.device_id, stands[spool] + 1, skip)
                stands[spool] = self._store.skip_to(*spool, skip)
        self.counts["reported"] += len(batch.reported)
        return [(name, Ack(spool=spool, through=through)) for (name, spool), through in stands.items() if through]

    # --- comparing

    def _compare(self, batch: _Batch, marks: Mapping[str, Mark], now: float) -> None:
        """Everybody who said where it stands and stands elsewhere is sent its desired state again."""
        ahead: dict[str, Mark] = {}
        for name, contact in batch.contacts.items():
            desired, said = marks[name], contact.said
            if said is None or desired.generation == 0 or not contact.online:
                continue
            if said == desired:
                self._queue.in_step(name)
            elif is_ahead(said, desired):
                ahead[name] = said
            else:
                self._behind(name, desired, batch, now)
        if ahead:
            self._overtake(ahead, int(now))

    def _behind(self, name: str, desired: Mark, batch: _Batch, now: float) -> None:
        said = batch.reported.get(name)
        if said is not None and said[0].preparing:
            return  # it has a document at hand; what comes of that is reported
        refusal = said[0].refusal if said else None
        refused = refusal is not None and not refusal.retry and concerns(refusal, desired)
        if self._queue.put_if_due(name, now, refused=refused):
            self.counts["sent again"] += 1

    # --- counting

    def _drop(self, kind: str, what: str) -> None:
        self.dropped[kind] += 1
        log.debug("dropped (%s): %.120s", kind, what)

    def _say(self, now: float) -> None:
        """One line now and then, however many messages are dropped."""
        total = self.dropped.total()
        if total > self.counts["dropped, said"] and now - self._said >= SAY_EVERY_S:
            self._said = now
            self.counts["dropped, said"] = total
            log.warning("dropped so far: %s", ", ".join(f"{n} {kind}" for kind, n in sorted(self.dropped.items())))


def _parsed(kind: type[D], data: bytes) -> D:
    """As `kind.parse`, without writing down in between what was read: a quarter of the whole path's time."""
    strict_json.loads(data, max_bytes=kind.limit_bytes, what=kind.__name__)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f".{part}" for part in first["loc"])
        raise DocumentInvalidError(f"${where}: {first['msg']}", element=kind.__name__) from error


def _own(named: str, device_id: str) -> None:
    if named != device_id:
        raise DocumentInvalidError(f"names device {named}", element="document")
