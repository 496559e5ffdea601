"""Sizes, durations, percentages and names as people write them. Each raises ValueError with a sentence."""

from __future__ import annotations

import re

from fleet_protocol.wire import bounds

SHIFTS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([bkmgt])(?:i?b)?|([kmgt])i)?", re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|µs|ms|s|m|h|d|w)")
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MAX_SECONDS = 10 * 365 * 86400
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d|w))+$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?\s*([bBkKmMgGtT]([iI]?[bB]?)?)?$"

PLATFORMS = {
    "amd64": "linux/amd64",
    "x86_64": "linux/amd64",
    "arm64": "linux/arm64",
    "aarch64": "linux/arm64",
    "armv7": "linux/arm/v7",
    "armv6": "linux/arm/v6",
    "386": "linux/386",
    "riscv64": "linux/riscv64",
}


def parse_size(text: str | float) -> int:
    """Bytes of `64Mi`, `64m`, `64MB` or `67108864`; all units are powers of 1024, as in compose files."""
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f'"{text}" is not a size such as 64Mi')
    unit = (found[2] or found[3] or "").lower()
    value = float(found[1]) * (1 << SHIFTS[unit])
    if value > bounds.MAX_INTEGER:
        raise ValueError(f'"{text}" is larger than anything here')
    return int(value)


def show_size(count: int) -> str:
    """`64Mi`, exact: the largest unit that divides it."""
    for unit, shift in (("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if count and count % (1 << shift) == 0:
            return f"{count >> shift}{unit}"
    return str(count)


def parse_duration(text: str) -> float:
    """Seconds of `1m30s`, `500ms` or `10s`. A bare number has no unit and is refused."""
    value, position = 0.0, 0
    for found in _DURATION_PART.finditer(text.strip()):
        if found.start() != position:
            break
        value += float(found[1]) * SECONDS[found[2]]
        position = found.end()
    if not position or position != len(text.strip()):
        raise ValueError(f'"{text}" is not a duration such as 10s or 1m30s')
    if value > MAX_SECONDS:
        raise ValueError(f'"{text}" is longer than ten years')
    return value


def whole_seconds(text: str) -> int:
    """A duration in whole seconds, rounded up."""
    return -int(-parse_duration(text) // 1)


def parse_percent(text: str) -> float:
    """Of `2%`, 0 to 100."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?)\s*%", text.strip())
    if not found or float(found[1]) > 100:
        raise ValueError(f'"{text}" is not a percentage such as 2%')
    return float(found[1])


def parse_cpus(text: str | float) -> int:
    """Thousandths of a core."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a number of cores such as 0.25') from None
    if not 0.01 <= value <= 1024:
        raise ValueError(f'"{text}" cores are not possible: 0.01 to 1024')
    return round(value * 1000)


def show_cpus(millis: int) -> str:
    """`0.25`."""
    return f"{millis / 1000:g}"


def parse_platform(text: str) -> str:
    """`linux/arm/v7` of `armv7`; full names stay."""
    found = PLATFORMS.get(text, text)
    if not bounds.matches(bounds.PLATFORM_PATTERN, found):
        raise ValueError(f'"{text}" is not a platform: {", ".join(PLATFORMS)}')
    return found


def name_of(text: str) -> str:
    """A usable name made from `text`, for suggestions and scaffolds."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-")
