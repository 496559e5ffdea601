"""Sick devices grouped by cause: a hundred devices with one fault are one line. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tui.model.rows import DeviceRow
from tui.model.states import RANK, SICK

MOST = 200
_NUMBER = re.compile(r"\d[\d.,:]*")
SILENT = "silent beyond its contact window"


class Cause(NamedTuple):
    """Devices that are in one state for one reason."""

    state: str
    key: str  # numbers left out: 93 % and 95 % of a disk are one cause
    reason: str
    devices: int
    example: str
    common: str  # "site=lyon": a label that all of them share, if there is one
    seen: int  # newest contact among them


def reason_of(row: DeviceRow) -> str:
    """What makes two devices the same case."""
    if row.state == "OVERDUE":
        return SILENT
    return _NUMBER.sub("#", row.why) or row.state


def cause_of(row: DeviceRow) -> tuple[str, str]:
    """State and reason."""
    return row.state, reason_of(row)


def causes(rows: Iterable[DeviceRow]) -> list[Cause]:
    """Worst state first, then most devices; at most 200."""
    groups: dict[tuple[str, str], list[DeviceRow]] = {}
    for row in rows:
        if row.state in SICK:
            groups.setdefault(cause_of(row), []).append(row)
    found = [
        Cause(
            state,
            reason,
            _said(reason, rows),
            len(rows),
            min(r.name for r in rows),
            _common(rows),
            max(r.seen for r in rows),
        )
        for (state, reason), rows in groups.items()
    ]
    found.sort(key=lambda c: (RANK.get(c.state, len(RANK)), -c.devices, c.reason))
    return found[:MOST]


def _said(reason: str, rows: list[DeviceRow]) -> str:
    """In the devices' own words, when all of them say the same."""
    first = rows[0].why
    return first if first and reason != SILENT and all(r.why == first for r in rows) else reason


def _common(rows: list[DeviceRow]) -> str:
    """The most telling label that all share."""
    shared = Counter(label for row in rows for label in set(filter(None, row.labels.split(","))))
    whole = sorted(label for label, count in shared.items() if count == len(rows))
    return next((label for label in whole if label.startswith("site=")), whole[0] if whole else "")
