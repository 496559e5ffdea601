"""Sending the outbox: few batches in flight, again until the server has acknowledged them, never two orders at once."""

from __future__ import annotations

from collections.abc import Callable

from edge_daemon.keeper.clock import NEVER
from edge_daemon.keeper.outbox import Outbox
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import MAX_ACK_BYTES, MAX_EVENTS_PER_MESSAGE
from fleet_protocol.wire.errors import DocumentInvalidError

IN_FLIGHT = 2 * MAX_EVENTS_PER_MESSAGE
PATIENCE_S = 4.0
"""Without an acknowledgement for this long, what is not acknowledged is sent again; each time in vain doubles it."""
PATIENCE_CAP_S = 300.0
GATHER_S = 0.1
"""Events that happen together travel together."""


class Spool:
    """What of the outbox was sent on this connection."""

    def __init__(self, device_id: str, outbox: Outbox, send: Callable[[bytes], bool]) -> None:
        self._device_id = device_id
        self._outbox = outbox
        self._send = send
        self._cursor = outbox.through
        self._repeat_at = NEVER
        self._patience = PATIENCE_S
        self._gather_until: float | None = None

    def connected(self) -> None:
        """A new connection: what the server has not acknowledged may be lost."""
        self._cursor = self._outbox.through
        self._repeat_at = NEVER
        self._patience = PATIENCE_S

    def acknowledged(self, payload: bytes) -> None:
        """A message on `acks`. What is no acknowledgement of ours is nobody's loss: it is left."""
        try:
            value = strict_json.loads(payload, max_bytes=MAX_ACK_BYTES, what="acknowledgement")
        except DocumentInvalidError:
            return
        if not isinstance(value, dict):
            return
        spool, through = value.get("spool"), value.get("through")
        if isinstance(spool, str) and type(through) is int and self._outbox.acknowledge(spool, through):
            self._cursor = max(self._cursor, through)
            self._patience = PATIENCE_S
            self._repeat_at = NEVER

    def step(self, now: float) -> float:
        """Send what may be sent. When to look again. Called while connected."""
        if now >= self._repeat_at:
            self._cursor = self._outbox.through
            self._repeat_at = NEVER
            self._patience = min(PATIENCE_CAP_S, 2 * self._patience)
        unsent = self._outbox.pending - (self._cursor - self._outbox.through)
        if unsent <= 0:
            self._gather_until = None
            return self._repeat_at
        if self._gather_until is None:
            self._gather_until = now + GATHER_S
        if now < self._gather_until and unsent < MAX_EVENTS_PER_MESSAGE:
            return self._gather_until
        while self._cursor - self._outbox.through < IN_FLIGHT:
            batch = self._outbox.batch(self._cursor)
            if not batch or not self._send(self._message([event.fields() for event in batch])):
                break
            self._cursor = batch[-1].seq or self._cursor
            if self._repeat_at == NEVER:
                self._repeat_at = now + self._patience
        if self._outbox.pending == self._cursor - self._outbox.through:
            self._gather_until = None
            return self._repeat_at
        self._gather_until = now  # gathered already: the next acknowledgement makes room for the rest
        return min(self._repeat_at, now + 1.0)

    def _message(self, events: list[dict[str, object]]) -> bytes:
        return strict_json.dumps(
            {
                "schema": "roadstead/events/v1",
                "device_id": self._device_id,
                "spool": self._outbox.spool,
                "events": events,
            }
        )
