"""How much an app uses of what it may: sampled seldom, kept in a bounded room, told in a few numbers.

Of several services the figure is that of the worst. What the host does not measure is None, never 0.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from edge_daemon.keeper.clock import NEVER
from edge_daemon.keeper.ports import Seen, Usage
from edge_daemon.keeper.slope import MOST_SAMPLES, WARM_UP_PART, Sample, Slope, median, percent, slope
from edge_daemon.sealed import LimitValues

SELDOM_S = 60.0
"""Between samples of what is not on trial."""
LEAST_TIME_S = 60.0
"""Restarts of a shorter time are no rate."""


class Figures(NamedTuple):
    """One revision of an app, as fleet_protocol.documents.device.Figures has it."""

    memory_percent: int | None = None  # of the limit: anonymous memory, the middle of the samples
    memory_peak_percent: int | None = None  # the most at once, page cache included, as the kernel counts it
    memory_slope_percent_per_h: int | None = None  # of the limit; negative: it shrinks
    cpu_throttled_percent: int | None = None  # of the time: it wanted to run and had used up its share
    pids_percent: int | None = None  # of the limit: the most that was seen
    restarts_per_h: float | None = None


class Gauge:
    """One service in one revision."""

    __slots__ = (
        "begun", "kills", "memory_peak", "pids", "restarts", "revision", "run", "samples", "slope", "taken",
        "throttled",
    )  # fmt: skip

    def __init__(self, revision: str, now: float, restarts: int) -> None:
        self.revision = revision
        self.begun, self.restarts = now, restarts  # since when it is watched, and how often it had restarted by then
        self.run: int | None = None
        self.samples: list[Sample] = []
        self.taken = -NEVER
        self.memory_peak: int | None = None
        self.pids: int | None = None
        self.throttled: int | None = None  # percent of the time of this run
        self.kills = 0  # by the kernel, in this run
        self.slope: Slope | None = None

    def note(self, seen: Seen, used: Usage, limits: LimitValues, up_since: float, now: float, window_s: int) -> None:
        """One reading. Another run begins its samples anew: what restarts does not leak over its restarts."""
        if self.run != seen.start_ticks:
            self.run, self.samples = seen.start_ticks, []
        self.taken = now
        if used.memory_anon_bytes is not None:
            self.samples.append(Sample(now, used.memory_anon_bytes))
            del self.samples[:-MOST_SAMPLES]
        self.slope = slope(self.samples, limits["memory_bytes"], since=up_since + window_s / WARM_UP_PART)
        self.memory_peak = _most(self.memory_peak, used.memory_peak_bytes)
        self.pids = _most(self.pids, used.pids)
        if used.throttled_usec is not None and now > up_since:
            self.throttled = round(used.throttled_usec / 10_000 / (now - up_since))

    def figures(self, limits: LimitValues, restarts: int, now: float) -> Figures:
        """What is known of it."""
        hours = (now - self.begun) / 3600
        return Figures(
            percent(median([one.anon_bytes for one in self.samples]), limits["memory_bytes"]),
            percent(self.memory_peak, limits["memory_bytes"]),
            round(self.slope.percent_per_h) if self.slope is not None else None,
            self.throttled,
            percent(self.pids, limits["pids"]),
            None if now - self.begun < LEAST_TIME_S else round(max(0, restarts - self.restarts) / hours, 1),
        )


class Gauges:
    """All services of this host."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Gauge] = {}

    def of(self, app: str, service: str, revision: str, now: float, restarts: int = 0) -> Gauge:
        """That of a service; another revision begins anew."""
        known = self._known.get((app, service))
        if known is None or known.revision != revision:
            known = self._known[app, service] = Gauge(revision, now, restarts)
        return known

    def find(self, app: str, service: str, revision: str) -> Gauge | None:
        """That of a service, if it was ever read in this revision."""
        known = self._known.get((app, service))
        return known if known is not None and known.revision == revision else None

    def forget(self, app: str, services: set[str] | None = None) -> None:
        """All of an app but `services`."""
        for key in [key for key in self._known if key[0] == app and key[1] not in (services or ())]:
            del self._known[key]


def worst(of: list[Figures]) -> Figures:
    """Of the services of one app; restarts add up."""
    if not of:
        return Figures()
    rates = [one.restarts_per_h for one in of if one.restarts_per_h is not None]
    most = Figures(*(max((n for n in column if n is not None), default=None) for column in zip(*of, strict=True)))
    return most._replace(restarts_per_h=round(sum(rates), 1) if rates else None)


def known_only(figures: Figures) -> dict[str, float]:
    """As JSON: what is not known is not there."""
    return {key: value for key, value in figures._asdict().items() if value is not None}


def as_text(figures: Figures) -> str:
    """For keeper.db."""
    return json.dumps(known_only(figures), separators=(",", ":"))


def of_text(text: str) -> Figures | None:
    """From keeper.db; None when nothing was kept, or nothing that can be read."""
    try:
        found = json.loads(text) if text else None
        return Figures(**{k: v for k, v in found.items() if k in Figures._fields}) if found else None
    except (ValueError, AttributeError):
        return None


def _most(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)
