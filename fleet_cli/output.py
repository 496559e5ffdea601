"""Rows become text in one place. stdout is data; talk goes to stderr.

Strings from devices are made inert before they reach a terminal; JSON carries them as they are.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from fleet_protocol.wire.errors import inert

Json = dict[str, Any]

SYMBOLS = {
    "ok": ("●", "green"),
    "updating": ("↻", "cyan"),
    "degraded": ("▲", "yellow"),
    "failed": ("✗", "red"),
    "held": ("‖", "blue"),
    "quiet": ("○", None),
    "OVERDUE": ("○", "red"),
    "unknown": ("?", None),
}

FORMATS = click.Choice(["table", "wide", "json", "yaml", "name"])
output_option = click.option(
    "-o", "--output", "form", type=FORMATS, default="table", show_default=True, help="How to print."
)


class Column(NamedTuple):
    """A heading, how to get the cell, and whether only `-o wide` shows it."""

    title: str
    cell: Callable[[Json], str]
    wide: bool = False


def show(kind: str, rows: Sequence[Json], columns: Sequence[Column], form: str, *, key: str, empty: str) -> None:
    """Print `rows`. JSON and YAML carry `apiVersion`, `kind` and all fields, the others what the columns say."""
    if form == "json":
        click.echo(json.dumps({"apiVersion": "roadstead/v1", "kind": f"{kind}List", "items": list(rows)}, indent=2))
    elif form == "yaml":
        click.echo(as_yaml({"apiVersion": "roadstead/v1", "kind": f"{kind}List", "items": list(rows)}), nl=False)
    elif form == "name":
        for row in rows:
            click.echo(inert(str(row[key])))
    elif not rows:
        click.echo(empty, err=True)
    else:
        table([c for c in columns if form == "wide" or not c.wide], rows)


def table(columns: Sequence[Column], rows: Sequence[Json]) -> None:
    """Left-aligned columns, two spaces between, as wide as their widest cell."""
    cells = [[c.title for c in columns], *([inert(c.cell(row)) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for number, line in enumerate(cells):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(click.style(text, dim=True) if number == 0 else coloured(text, rows[number - 1]))


def coloured(text: str, row: Json) -> str:
    """The state's symbol in its colour; the words stay as they are."""
    symbol, colour = SYMBOLS.get(str(row.get("state", "")), ("", None))
    return text.replace(symbol, click.style(symbol, fg=colour), 1) if symbol and colour else text


def state(word: str) -> str:
    """Symbol and word."""
    return f"{SYMBOLS.get(word, ('?', None))[0]} {word}"


def age(at: float | None, now: float | None = None) -> str:
    """`12s`, `5m`, `3h`, `9d`, or `-`."""
    if not at:
        return "-"
    seconds = max(0, int((time.time() if now is None else now) - at))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock(at: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def size(count: float | None) -> str:
    """`64Mi`, `1.5Gi`, or `-`."""
    if count is None:
        return "-"
    for unit in ("", "Ki", "Mi", "Gi"):
        if count < 1024 or unit == "Gi":
            return f"{count:.0f}{unit}" if count == int(count) or count >= 10 else f"{count:.1f}{unit}"
        count /= 1024
    raise AssertionError


def as_yaml(value: Any) -> str:
    """YAML text; loads the YAML library only now."""
    import io

    from ruamel.yaml import YAML

    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(value, out)
    return out.getvalue()


def talk(text: str) -> None:
    """To a person, on stderr."""
    click.echo(plain(text), err=True, color=colour())


def plain(text: str) -> str:
    """Made inert, line by line."""
    return "\n".join(map(inert, text.split("\n")))


def colour() -> bool | None:
    """What https://no-color.org asks for; None leaves it to whether this is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
