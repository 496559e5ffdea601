"""Text for a terminal: foreign strings made inert, cut and padded by cells, ages and sizes in few letters. Pure.

Whatever a device, a server or a file said passes `safe` before it becomes part of a line.
"""

from __future__ import annotations

import time
import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from fleet_protocol.wire.errors import inert

ELLIPSIS = "…"
MAX_FOREIGN = 600
LATEST = 253_370_000_000.0  # 9998


@lru_cache(maxsize=4096)
def safe(text: str) -> str:
    """`text` on one line, without control, format, bidirectional and combining characters; at most 600 characters."""
    text = text[:MAX_FOREIGN]
    if text.isascii():
        return inert(text)
    whole = unicodedata.normalize("NFC", inert(text))
    return "".join(c for c in whole if unicodedata.category(c) not in ("Mn", "Me", "Mc"))


def width_of(text: str) -> int:
    """Terminal cells."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int) -> str:
    """At most `width` cells, with an ellipsis where something was left out."""
    if width <= 0:
        return ""
    if width_of(text) <= width:
        return text
    return (text[: width - 1] if text.isascii() else set_cell_size(text, width - 1)) + ELLIPSIS


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells."""
    text = cut(text, width)
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def age(at: float | None, now: float) -> str:
    """`<1m`, `5m`, `3h`, `9d`, or `-`: coarse, so that a quiet screen stays as it is."""
    if not at:
        return "-"
    return span(max(0.0, now - at))


def span(seconds: float) -> str:
    """A length of time, rounded down: `<1m`, `5m`, `3h`, `9d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= (2 * size if size > 60 else size):
            return f"{int(seconds // size)}{unit}"
    return "<1m"


def countdown(seconds: float) -> str:
    """`4:10`, or `3h`."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}" if whole < 7200 else span(whole)


def clock(at: float, *, seconds: bool = True) -> str:
    """Local time of day."""
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", _local(at))


def day_clock(at: float, now: float) -> str:
    """The time of day; with the date before it when that is not today."""
    here, today = _local(at), _local(now)
    return time.strftime("%H:%M:%S" if here[:3] == today[:3] else "%m-%d %H:%M", here)


def _local(at: float) -> time.struct_time:
    """A host's clock may say anything; a year has four digits."""
    return time.localtime(max(0.0, min(at, LATEST)))


def amount(count: float | None) -> str:
    """Bytes: `64Mi`, `1.5Gi`, or `-`."""
    if count is None:
        return "-"
    unit = ""
    for bigger in ("Ki", "Mi", "Gi"):
        if count < 1024:
            break
        count, unit = count / 1024, bigger
    return f"{count:.0f}{unit}" if count >= 10 or count == int(count) else f"{count:.1f}{unit}"


def plural(count: int, word: str, many: str = "") -> str:
    """`1 device`, `12,345 devices`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"
