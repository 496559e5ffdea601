"""Lengths of time as people write them on a command line. Standard library only."""

from __future__ import annotations

from fleet_protocol.wire.errors import Exit, RoadsteadError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MOST_DIGITS = 6


class LengthError(RoadsteadError):
    """A length of time that cannot be read."""

    phase = "reading the command line"
    component = "edge-daemon"
    code = "E0643"
    exit_status = Exit.USAGE


def seconds(text: str) -> int:
    """Of `90s`, `30m`, `12h` or `1d`, above zero. Raises LengthError."""
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS and unit in UNITS and int(digits)):
        raise LengthError(f"{text[:20]!r} is not a length of time", hint="for example 90s, 30m, 12h or 1d")
    return int(digits) * UNITS[unit]
