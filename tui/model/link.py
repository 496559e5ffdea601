"""Whether what is on the screen is true now: connecting, live, or lost since when and why. Pure.

Lost data stays on the screen with its age; the next try comes within 1.5 s of the server's return.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

RETRY_S = (0.25, 0.5, 1.0, 1.5)
STALE_S = 6.0

Phase = Literal["connecting", "live", "lost"]


class Link(NamedTuple):
    """The connection to one server."""

    phase: Phase = "connecting"
    heard: float = 0.0  # when the newest data came; 0: never
    since: float = 0.0  # lost since
    tries: int = 0
    why: str = ""
    final: bool = False  # trying again by itself is of no use: the token or the CA is wrong

    def live(self, now: float) -> Link:
        """Something came."""
        return Link("live", heard=now)

    def lost(self, now: float, why: str, *, final: bool = False) -> Link:
        """It did not answer."""
        since = self.since if self.phase == "lost" else now
        return Link("lost", self.heard, since, self.tries + 1, why, final)

    def retry_in(self) -> float:
        """Seconds until the next try."""
        return RETRY_S[min(self.tries, len(RETRY_S)) - 1]

    def writable(self) -> bool:
        """Whether changing something makes sense now."""
        return self.phase == "live"
