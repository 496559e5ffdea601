"""What a page gives to be painted: pinned lines, and a list of lines of which some can be chosen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tui.model.line import EMPTY, Line, Piece, line
from tui.model.link import Link
from tui.model.text import width_of


class Body(Protocol):
    """Lines by number; only those on the screen are asked for."""

    head: tuple[Line, ...]

    def count(self) -> int:
        """How many lines there are."""
        ...

    def line(self, index: int) -> Line:
        """One of them."""
        ...

    def key(self, index: int) -> str:
        """What the line stands for; "" for one that cannot be chosen."""
        ...

    def index(self, key: str) -> int | None:
        """Where a key stands."""
        ...


class Entry(NamedTuple):
    """A line and what it stands for."""

    line: Line
    key: str = ""


@dataclass
class Page:
    """A body whose lines are made beforehand: for all pages but the list of devices."""

    entries: list[Entry]
    head: tuple[Line, ...] = ()

    def count(self) -> int:
        """How many lines there are."""
        return len(self.entries)

    def line(self, index: int) -> Line:
        """One of them."""
        return self.entries[index].line

    def key(self, index: int) -> str:
        """What it stands for."""
        return self.entries[index].key

    def index(self, key: str) -> int | None:
        """Where a key stands."""
        return next((n for n, entry in enumerate(self.entries) if entry.key == key), None)


@dataclass
class View:
    """How a page is looked at."""

    about: str = ""
    filter: str = ""
    faults: bool = False
    wide: bool = False
    cause: str = ""  # the reason that devices are narrowed to, in words


def message(*lines: str | Line, style: str = "dim") -> Page:
    """A page that says one thing: that it is empty, or still being read."""
    said = [line(Piece(f"  {text}", style)) if isinstance(text, str) else text for text in lines]
    return Page([Entry(EMPTY), *(Entry(text) for text in said)])


def unread(link: Link, what: str) -> Page:
    """A page of which nothing was read yet."""
    return message(f"Reading the {what} ..." if link.phase != "lost" else f"The {what} were not read yet.")


def title(text: str, right: str, width: int) -> Entry:
    """A section's heading."""
    space = max(1, width - 2 - width_of(text) - width_of(right))
    return Entry(line(Piece(f" {text}", "title"), " " * space, Piece(right, "dim")))


def blocks(share: float, width: int, mark: str = "█") -> str:
    """So much of `width`; something that is not nothing shows at least one cell."""
    count = round(max(0.0, min(1.0, share)) * width)
    return mark * (max(1, count) if share > 0 else 0)


SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """The newest `width` values as a line of bars."""
    shown = values[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    step = (high - low) or 1.0
    return "".join(SPARKS[min(7, int((v - low) / step * 7.999))] for v in shown)
