"""Maintenance windows: open or not, and until when, in a time zone. Results are kept, so a fleet costs a few zones."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from fleet_protocol.documents.rollout import WindowSpec

FAR = 2**53  # it never opens


class Opening(NamedTuple):
    """`until`: when it closes, or opens next."""

    is_open: bool
    until: int
    zone: str


class Windows:
    """One window over time zones. `at` may be asked with any `now`; neighbouring times are answered from memory."""

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self._known: dict[str | None, tuple[int, Opening]] = {}

    def at(self, zone: str | None, now: int) -> Opening:
        """For a device in `zone`; None or an unknown one: the fallback."""
        key = self._spec.zone or zone
        known = self._known.get(key)
        if known is not None and known[0] <= now < known[1].until:
            return known[1]
        opening = _opening(self._spec, key, now)
        self._known[key] = (now, opening)
        return opening


def _opening(spec: WindowSpec, zone: str | None, now: int) -> Opening:
    place = zone_or(zone, spec.fallback)
    here = dt.datetime.fromtimestamp(now, place)
    last = _fire(spec.cron, here + dt.timedelta(seconds=1), back=True)
    if last is not None and now < last + spec.for_s:
        return Opening(is_open=True, until=last + spec.for_s, zone=str(place))
    return Opening(is_open=False, until=_fire(spec.cron, here, back=False) or FAR, zone=str(place))


def _fire(cron: str, start: dt.datetime, *, back: bool) -> int | None:
    try:
        found = next(CronSim(cron, start, reverse=back))
    except (CronSimError, StopIteration):
        return None
    return int(found.timestamp())


def zone_or(name: str | None, fallback: str) -> ZoneInfo:
    """The zone of that name; the fallback, then UTC, where there is none."""
    for candidate in (name, fallback):
        try:
            if candidate:
                return ZoneInfo(candidate)
        except (OSError, ValueError, KeyError):
            continue
    return ZoneInfo("UTC")


def local(at: int, zone: str) -> str:
    """`22:00`, for people."""
    return dt.datetime.fromtimestamp(at, zone_or(zone, "UTC")).strftime("%H:%M")
