"""A table's columns: which of them a width has room for, and how a row becomes a line. Pure.

NAME, STATE and WHY never go; the others go by priority, the highest number first. What is left over goes to the
columns that can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from tui.model.line import Line, Piece
from tui.model.text import fit

R = TypeVar("R")
GAP = 2
MARGIN = 3  # the cursor's and the mark's cells
EDGE = 1
_BETWEEN = Piece(" " * GAP)


class Column(NamedTuple, Generic[R]):
    """A heading, the least and the most cells, and a row's text with its style."""

    title: str
    least: int
    most: int
    cell: Callable[[R], Piece]
    priority: int = 0  # 0: never goes
    right: bool = False
    hunger: int = 0  # who grows first


class Placed(NamedTuple, Generic[R]):
    """A column and the width it was given."""

    column: Column[R]
    width: int


def place(columns: Sequence[Column[R]], width: int) -> list[Placed[R]]:
    """Those that have room, in their own order."""
    chosen = list(columns)
    while _least(chosen) > width and any(c.priority for c in chosen):
        chosen.remove(max(chosen, key=lambda c: c.priority))
    widths = [c.least for c in chosen]
    spare = width - _least(chosen)
    for n in sorted(range(len(chosen)), key=lambda n: -chosen[n].hunger):
        more = min(spare, chosen[n].most - chosen[n].least)
        widths[n] += more
        spare -= more
    return [Placed(c, w) for c, w in zip(chosen, widths, strict=True)]


def heading(placed: Sequence[Placed[R]], sort: str = "") -> Line:
    """The titles; the one that the rows are sorted by has an arrow."""
    cells = []
    for column, width in placed:
        text = f"{column.title}▲" if sort and column.title.lower() == sort else column.title
        cells += [Piece(fit(text, width, right=column.right), "head"), _BETWEEN]
    return (Piece(" " * MARGIN, "head"), *cells[:-1])


def cells(placed: Sequence[Placed[R]], row: R, *, marked: bool = False) -> Line:
    """One row."""
    out = [Piece(" * " if marked else " " * MARGIN, "mark" if marked else "")]
    for column, width in placed:
        text, style = column.cell(row)
        out += [Piece(fit(text, width, right=column.right), style), _BETWEEN]
    return tuple(out[:-1])


def _least(columns: Sequence[Column[R]]) -> int:
    return MARGIN + sum(c.least + GAP for c in columns) - GAP + EDGE
