"""Which document prepare gets next, and when: pure.

Nothing in a document is believed here. Two claims travel beside it (generation and hash) and are compared with what has
been *accepted*, so a forged claim can at most make us look at a document. The newest document waits alone; one that
failed for a passing reason is kept behind it and comes back when the newer one turns out to be refused.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from edge_daemon.keeper.clock import NEVER, backoff
from fleet_protocol.wire.bounds import SHA256_PATTERN, matches

REFUSED_KEPT = 256
REFUSED_BASE_S, REFUSED_CAP_S = 0.5, 5.0
RETRY_BASE_S, RETRY_CAP_S = 5.0, 600.0
TRIES = 3
QUARANTINE_S = 3600.0
"""After three ends without an outcome, or reboots, a document is tried once an hour: it may be poison."""


class Claim(NamedTuple):
    """What the sender says that the document is; None: nothing usable was said."""

    generation: int
    sha256: str


class Document(NamedTuple):
    """Bytes as they came, named by their hash."""

    data: bytes
    digest: str
    claim: Claim | None


def document(data: bytes, properties: list[tuple[str, str]]) -> Document:
    """A document from the wire, with its two properties read within bounds."""
    return Document(data, hashlib.sha256(data).hexdigest(), _claim(properties))


def _claim(properties: list[tuple[str, str]]) -> Claim | None:
    said = dict(properties[:16])
    number, sha256 = said.get("generation", ""), said.get("sha256", "")
    if not (number.isascii() and number.isdigit() and len(number) <= 16 and matches(SHA256_PATTERN, sha256)):
        return None
    return Claim(int(number), sha256)


class DesiredQueue:
    """The waiting room before prepare."""

    def __init__(self, accepted: Claim | None, tries: dict[str, int]) -> None:
        self.accepted = accepted
        self.tries = tries  # durable, kept by the caller: ends without an outcome, by digest
        self.waiting: Document | None = None
        self.running: Document | None = None
        self._held: Document | None = None  # failed for a passing reason
        self._refused: dict[str, None] = {}
        self._not_before = 0.0
        self._retry_at = 0.0
        self._refusals = 0  # in a row
        self._retries = 0

    def offer(self, new: Document) -> bool:
        """A document came. Whether it is worth keeping."""
        if new.claim is not None and new.claim == self.accepted:
            return False
        if new.digest in self._refused or (self.running and self.running.digest == new.digest):
            return False
        if self._held and self._held.digest == new.digest:
            return False
        if self.waiting and self.waiting.digest == new.digest:
            return False
        self.waiting = new
        return True

    def ready(self, now: float) -> tuple[Document | None, float]:
        """(what to prepare now or None, when to look again)."""
        if self.running is not None:
            return None, NEVER
        if self.waiting is not None:
            return (self.waiting, now) if now >= self._not_before else (None, self._not_before)
        if self._held is not None:
            at = max(self._retry_at, self._not_before)
            return (self._held, now) if now >= at else (None, at)
        return None, NEVER

    def started(self, taken: Document) -> None:
        """Prepare is at work on it."""
        self.running = taken
        if self.waiting is taken:
            self.waiting = None

    def accepted_now(self, accepted: Claim) -> None:
        """It is sealed, or was already: what failed before it is of no interest any more."""
        self._finish()
        self.accepted = accepted
        self._held = None
        self._refusals = self._retries = 0
        self._not_before = 0.0

    def refused(self, now: float, chance: float) -> None:
        """It will never be accepted: the same bytes do not come in again."""
        done = self._finish()
        if done is not None:
            self._refused[done.digest] = None
            while len(self._refused) > REFUSED_KEPT:
                self._refused.pop(next(iter(self._refused)))
            if self._held and self._held.digest == done.digest:
                self._held = None
        self._refusals += 1
        self._not_before = now + backoff(self._refusals, base=REFUSED_BASE_S, cap=REFUSED_CAP_S, chance=chance)

    def failed(self, now: float, chance: float) -> None:
        """It may be accepted another time."""
        done = self._finish()
        self._held = done or self._held
        self._retries += 1
        wait = backoff(self._retries, base=RETRY_BASE_S, cap=RETRY_CAP_S, chance=chance)
        if done is not None and self.tries.get(done.digest, 0) >= TRIES:
            wait = QUARANTINE_S
        self._retry_at = now + wait
        self._not_before = now + REFUSED_BASE_S

    def crashed(self, now: float, chance: float) -> bool:
        """Prepare ended without an outcome. Whether the document is now in quarantine."""
        bad = False
        if self.running is not None:
            digest = self.running.digest
            self.tries[digest] = self.tries.get(digest, 0) + 1
            bad = self.tries[digest] == TRIES
        self.failed(now, chance)
        return bad

    def hurry(self, now: float) -> None:
        """The network is back: what failed for want of it is tried again now, unless it is in quarantine."""
        if self._held and self.tries.get(self._held.digest, 0) < TRIES:
            self._retry_at = min(self._retry_at, now)

    def _finish(self) -> Document | None:
        done, self.running = self.running, None
        return done
