"""The time against which expiry is judged. It gates accepting, never running.

A host's clock may stand at 1970 or in 2099, so it is believed only between a floor and a bound above it:

* The floor is the latest of build time, the last signed time seen, and the last believed system time.
* A clock below the floor, or further than `PLAUSIBLE_AHEAD_S` above it, is not believed; the floor stands in.
* A signed time statement that answers our own nonce is believed for the life of the process, by the monotonic clock.
  It replaces a system time that was believed wrongly, but never goes below a signed time seen before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from fleet_protocol.documents.enrolment import TIME_TYPE, TimeStatement
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import PublicKey
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.wire.errors import TrustError

BUILD_TIME = 1_767_225_600  # 2026-01-01: no honest time lies before it
PLAUSIBLE_AHEAD_S = 400 * 86400
MAX_TIME_STEP_S = 20 * 365 * 86400
"""A statement further above the floor is refused: it could make everything expired for ever."""
BACKWARD_TOLERANCE_S = 86400
MAX_STATEMENT_BYTES = 4096


class TrustedClock:
    """Reference time over a store's floors."""

    def __init__(
        self,
        store: TrustStore,
        *,
        system: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._system = system
        self._monotonic = monotonic
        self._signed: tuple[int, float] | None = None

    @property
    def signed(self) -> bool:
        """Whether a signed statement was accepted in this process."""
        return self._signed is not None

    def floor(self) -> int:
        """No later judgement uses an earlier time than this."""
        return max(BUILD_TIME, self._store.number("signed_time"), self._store.number("saved_clock"))

    def now(self) -> datetime:
        """The reference time."""
        return datetime.fromtimestamp(self._seconds(), UTC)

    def save(self) -> None:
        """Remember the time that was believed, so that a clock set back later does not revive what expired."""
        believed = int(self._seconds())
        if believed > self.floor():
            self._store.put_numbers(saved_clock=believed)

    def new_nonce(self) -> str:
        """For one `POST /v1/time`."""
        return secrets.token_urlsafe(32)

    def accept(self, envelope: bytes, nonce: str, keys: tuple[PublicKey, ...]) -> None:
        """Believe a signed statement. Raises TrustError if it is not the answer to `nonce`, or lies before or too far
        above what was signed before."""
        payload = dsse.verify(envelope, TIME_TYPE, keys, max_bytes=MAX_STATEMENT_BYTES)
        said = TimeStatement.parse(payload)
        if not secrets.compare_digest(said.nonce, nonce):
            raise TrustError("answers another question (its nonce is not ours)", element="time statement")
        known = max(BUILD_TIME, self._store.number("signed_time"))
        if said.time < known - BACKWARD_TOLERANCE_S:
            raise TrustError(
                f"says {_day(said.time)}, before {_day(known)}, which was signed earlier", element="time statement"
            )
        if said.time > known + MAX_TIME_STEP_S:
            raise TrustError(f"lies more than 20 years after {_day(known)}", element="time statement")
        at = max(said.time, known)
        self._store.put_numbers(signed_time=at, saved_clock=0)
        self._signed = (at, self._monotonic())

    def _seconds(self) -> float:
        if self._signed is not None:
            at, since = self._signed
            return at + max(0.0, self._monotonic() - since)
        floor, system = self.floor(), self._system()
        return system if floor <= system <= floor + PLAUSIBLE_AHEAD_S else floor


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}" if seconds < 250_000_000_000 else f"second {seconds}"
