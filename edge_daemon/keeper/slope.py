"""How fast the memory of a service grows: pure. Nothing here reads a clock, a socket or a file.

The slope is that of Theil and Sen: the median of the slopes between all pairs of samples. A quarter of the samples may
be anything (a burst, a collection of garbage, one late step) and it hardly moves.

Rules:
* What a service takes while it starts is no leak: the first quarter of its window is not looked at.
* Fewer than `LEAST_SAMPLES` say nothing.
* A growth that is small in itself is no leak, however steep it is when it is carried on for an hour: it is told as
  not `certain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MOST_SAMPLES = 32
LEAST_SAMPLES = 10
LEAST_GROWTH_BYTES = 256 << 10
LEAST_GROWTH_PART = 200  # of the limit: half a percent
WARM_UP_PART = 4  # of the window


class Sample(NamedTuple):
    """What a service held at a moment."""

    at: float  # CLOCK_BOOTTIME
    anon_bytes: int


class Slope(NamedTuple):
    """Growth, as far as it was seen."""

    percent_per_h: float  # of the limit; negative: it shrinks
    certain: bool  # it grew by more than what may be chance


def every(window_s: float) -> float:
    """Seconds between samples, so that a window has some two dozen of them."""
    return max(0.25, window_s / 24)


def slope(samples: Sequence[Sample], limit_bytes: int, *, since: float) -> Slope | None:
    """Of the samples from `since` on, in their order; None: too few."""
    used = [one for one in samples if one.at >= since]
    if len(used) < LEAST_SAMPLES or limit_bytes <= 0:
        return None
    steepness = sorted(
        (late.anon_bytes - early.anon_bytes) / (late.at - early.at)
        for n, late in enumerate(used)
        for early in used[:n]
        if late.at > early.at
    )
    if not steepness:
        return None
    middle = len(steepness) // 2
    median = steepness[middle] if len(steepness) % 2 else (steepness[middle - 1] + steepness[middle]) / 2
    grown = median * (used[-1].at - used[0].at)
    least = max(LEAST_GROWTH_BYTES, limit_bytes // LEAST_GROWTH_PART)
    return Slope(median * 3600 * 100 / limit_bytes, grown >= least)


def median(numbers: Sequence[int]) -> int | None:
    """The middle one; of two, the greater. None of none."""
    return sorted(numbers)[len(numbers) // 2] if numbers else None


def percent(part: int | None, whole: int | None) -> int | None:
    """Rounded; None when either is not known."""
    return None if part is None or not whole else round(part * 100 / whole)
