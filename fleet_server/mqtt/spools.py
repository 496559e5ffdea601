"""Gaps in what a device's outbox sends.

A spool is acknowledged only without a gap, because messages may overtake each other. A device sends its oldest
unacknowledged event again and again; so when the lowest number that arrives stays above the gap for long enough, what
is missing will never come: the device was told once that it is stored, by a server whose newer store has been lost.
"""

from __future__ import annotations

from dataclasses import dataclass

GAP_S = 60.0
GAP_MESSAGES = 3
MAX_GAPS = 10_000
Spool = tuple[str, str]


@dataclass(slots=True)
class _Gap:
    lowest: int
    since: float
    messages: int


class SpoolGaps:
    """Remembers which spools wait for something; time is an argument."""

    def __init__(self) -> None:
        self._gaps: dict[Spool, _Gap] = {}

    def arrived(self, spool: Spool, lowest: int, through: int, now: float) -> int | None:
        """A message began with `lowest` and left the spool standing at `through`; the number to skip to, or None."""
        if lowest <= through + 1:
            self._gaps.pop(spool, None)
            return None
        gap = self._gaps.get(spool)
        if gap is None or lowest < gap.lowest:
            if len(self._gaps) >= MAX_GAPS:
                self._gaps.pop(next(iter(self._gaps)))
            self._gaps[spool] = _Gap(lowest, now, 1)
            return None
        gap.messages += 1
        if now - gap.since < GAP_S or gap.messages < GAP_MESSAGES:
            return None
        del self._gaps[spool]
        return gap.lowest - 1
