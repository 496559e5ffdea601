"""A line on the screen: pieces of text, each with the name of a style. Pure; a skin turns names into colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tui.model.text import cut, width_of


class Piece(NamedTuple):
    """Text that is safe to print, and the name of its style (`tui.term.skins`)."""

    text: str
    style: str = ""


Line = tuple[Piece, ...]
EMPTY: Line = ()


def line(*parts: str | Piece) -> Line:
    """Of strings in the common style, and pieces."""
    return tuple(part if isinstance(part, Piece) else Piece(part) for part in parts)


def length(pieces: Iterable[Piece]) -> int:
    """In cells."""
    return sum(width_of(p.text) for p in pieces)


def crop(pieces: Sequence[Piece], width: int) -> Line:
    """At most `width` cells."""
    left = width
    out: list[Piece] = []
    for piece in pieces:
        cells = width_of(piece.text)
        if cells > left:
            if left > 0:
                out.append(Piece(cut(piece.text, left), piece.style))
            break
        out.append(piece)
        left -= cells
    return tuple(out)


def spread(left: Sequence[Piece], right: Sequence[Piece], width: int) -> Line:
    """One at each end; the right one is kept whole."""
    room = max(0, width - length(right))
    start = crop(left, max(0, room - 1)) if length(left) >= room else tuple(left)
    return (*start, Piece(" " * max(0, room - length(start))), *crop(right, width))


def plain(pieces: Iterable[Piece]) -> str:
    """The text alone."""
    return "".join(p.text for p in pieces)
