"""Which fleets select a device, and what their settings come to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet_protocol.documents.desired import Settings
from fleet_protocol.documents.fleet import FleetSpec

DEFAULT_EVERY_S = 60
DEFAULT_OVERDUE = 3.0
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d|)")
_FACTOR = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)x?")


@dataclass(frozen=True, slots=True)
class Contact:
    """How often a device is expected to be heard, and after how many times that it is overdue."""

    every_s: int = DEFAULT_EVERY_S
    overdue: float = DEFAULT_OVERDUE


def selects(fleet: FleetSpec, labels: Mapping[str, str]) -> bool:
    """Every key of the selector, with exactly that value; an empty selector selects nothing unless it says all."""
    if fleet.select_all:
        return True
    return bool(fleet.select) and all(labels.get(key) == value for key, value in fleet.select.items())


def merged_settings(fleets: Iterable[FleetSpec]) -> Settings:
    """The settings of a device in several fleets, whatever their order: for each field the smallest value that a fleet
    sets (a value equal to the default counts as not set), so the most frequent report and the tightest quota hold."""
    default = Settings()
    values = {}
    specs = list(fleets)
    for name in Settings.model_fields:
        usual = getattr(default, name)
        said = [v for v in (getattr(f.settings, name) for f in specs) if v != usual and v is not None]
        values[name] = min(said) if said else usual
    return Settings(**values)


def contact_of(fleets: Iterable[FleetSpec], labels: Mapping[str, str]) -> Contact:
    """What the fleets expect: the most patient of them decides. What cannot be read is passed over."""
    out: list[Contact] = []
    for fleet in fleets:
        try:
            out.append(read_contact(fleet.contact, labels))
        except ValueError:
            continue
    return max(out, key=lambda c: c.every_s * c.overdue, default=Contact())


def read_contact(said: Mapping[str, object], labels: Mapping[str, str]) -> Contact:
    """`{every: 5m, overdue: 3x, satellite: {match: {link: sat}, every: 6h}}`; the first case that matches counts.

    Raises ValueError that says what cannot be read.
    """
    every, overdue = seconds(said.get("every", DEFAULT_EVERY_S)), factor(said.get("overdue", DEFAULT_OVERDUE))
    chosen = None
    for name, case in sorted(said.items()):
        if name in ("every", "overdue"):
            continue
        match = case.get("match") if isinstance(case, Mapping) else None
        if not isinstance(case, Mapping) or not isinstance(match, Mapping) or not match:
            raise ValueError(f"contact.{name} wants match and every")
        special = Contact(seconds(case.get("every", every)), factor(case.get("overdue", overdue)))
        if chosen is None and all(labels.get(key) == value for key, value in match.items()):
            chosen = special
    return chosen or Contact(every, overdue)


def seconds(value: object) -> int:
    """Seconds from a number, or from `90s`, `5m`, `6h`, `1d`. Raises ValueError."""
    if type(value) is int and value > 0:
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found or int(found[1]) == 0:
        raise ValueError(f"{str(value)[:40]!r} is not a time such as 90s, 5m or 6h")
    return int(found[1]) * _UNITS[found[2]]


def factor(value: object) -> float:
    """How many times, from a number or `3x`; at least 1. Raises ValueError."""
    found = _FACTOR.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if not found or float(found[1]) < 1:
        raise ValueError(f"{str(value)[:40]!r} is not a factor such as 3x")
    return float(found[1])
