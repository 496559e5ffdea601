"""An app's own "not now" to an update: pure. Nothing here reads a clock, a socket or a file.

Rules:
* It is asked before anything of it is stopped for an update, and again every minute for as long as it says no.
* It is not asked when it is not an update: a return to the last good, a withdrawal, an act of an operator on this host.
* Its no is listened to until it expires, counted from the first one; a newer release does not begin that anew, nor does
  a restart of the daemon or of the host.
* Once it has agreed, or its time is over, it is not asked again until that update is done.
"""

from __future__ import annotations

import time
from typing import NamedTuple

ASK_AGAIN_S = 60.0
KEEP_EVERY_S = 600.0
"""How often it is written down how much of the time is left: what a host without a clock loses by a power cut."""
NO_WORDS = "not now"

ASKING, HELD, GO = "asking", "held", "go"
AGREED, REFUSED, EXPIRED = "agreed", "refused", "expired"

NEXT: dict[str, dict[str, str]] = {
    ASKING: {AGREED: GO, REFUSED: HELD, EXPIRED: GO},
    HELD: {AGREED: GO, REFUSED: HELD, EXPIRED: GO},
    GO: {AGREED: GO, REFUSED: GO, EXPIRED: GO},
}


class Veto(NamedTuple):
    """What is known of one app that runs a revision with a veto, and for which another is desired."""

    app: str
    revision: str  # that runs
    seal: str
    state: str = ASKING
    words: str = ""
    since: int = 0  # wall clock of the first no
    until: int = 0
    left: float = 0.0  # of its time, as last written down
    boot: str = ""
    until_boottime: float = float("inf")
    ask_at: float = 0.0


def after(veto: Veto, event: str) -> Veto:
    """The next state; what else follows is the caller's."""
    return veto._replace(state=NEXT[veto.state][event])


def refused(veto: Veto, words: str, expires_s: float, *, wall: int, boot: str, now: float) -> Veto:
    """It said no. Only the first one starts its time."""
    found = after(veto, REFUSED)._replace(words=words or NO_WORDS, ask_at=now + ASK_AGAIN_S)
    if found.state != HELD or veto.state == HELD:
        return found
    return found._replace(
        since=wall, until=wall + int(expires_s), left=expires_s, boot=boot, until_boottime=now + expires_s
    )


def carried_over(veto: Veto, *, wall: int, boot: str, now: float) -> Veto:
    """In another boot what is left counts: by the clock, or by what was written down where that is less."""
    if veto.boot == boot:
        return veto
    left = max(0.0, min(veto.left, veto.until - wall))
    return veto._replace(boot=boot, left=left, until_boottime=now + left, ask_at=now)


def kept(veto: Veto, now: float) -> Veto | None:
    """What is to be written down about its time now, or None."""
    left = veto.until_boottime - now
    return veto._replace(left=max(0.0, left)) if veto.state == HELD and veto.left - left >= KEEP_EVERY_S else None


def why(veto: Veto) -> str:
    """For people: who holds what up, since when, until when."""
    if veto.state == ASKING:
        return "the app is asked whether it may be stopped for the update"
    shape = "%H:%M UTC" if veto.until - veto.since < 20 * 3600 else "%Y-%m-%d %H:%M UTC"
    since, until = (time.strftime(shape, time.gmtime(at)) for at in (veto.since, veto.until))
    return f'app veto: "{veto.words}", since {since}, expires {until}'
