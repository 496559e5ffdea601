"""The lines around a page: where one is, whether it is live, what the keys do. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tui.model.actions import PROD
from tui.model.keys import footer
from tui.model.line import Line, Piece, length, line, spread
from tui.model.link import STALE_S, Link
from tui.model.text import clock, countdown, cut, safe
from tui.model.world import World

GAP = "  "
NARROW, SHORT = 60, 16


class Hit(NamedTuple):
    """Cells that stand for an action."""

    start: int
    end: int
    action: str


def top(world: World, title: str, about: str, width: int) -> Line:
    """` fleet │ prod-eu │ Devices › cam-1          ops1·operator  ● live  14:02 `."""
    crumb = f"{title} › {about}" if about else title
    bar = Piece(" │ ", "bar-dim")
    context = (
        Piece(f" {world.context} ", "bar-prod") if world.environment == PROD else Piece(world.context, "bar-strong")
    )
    name, role = world.who
    who = f"{name}·{role}  " if name else ""
    right = line(
        Piece(who, "bar-dim"), *_live(world.link, world.now), Piece(f"  {clock(world.now, seconds=False)} ", "bar-dim")
    )
    room = width - length(right) - length((Piece(" fleet"), bar, context, bar)) - 1
    return spread(line(Piece(" fleet", "bar-strong"), bar, context, bar, Piece(cut(crumb, room), "bar")), right, width)


def _live(link: Link, now: float) -> Line:
    match link.phase:
        case "connecting":
            return line(Piece("… connecting", "bar-dim"))
        case "live" if now - link.heard <= STALE_S:
            return line(Piece("●", "ok"), Piece(" live", "bar"))
        case "live":
            return line(Piece(f"○ {_clock_age(now - link.heard)} old", "degraded"))
        case _:
            return line(Piece(f"✗ no server {_clock_age(now - link.since)}", "failed"))


def _clock_age(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 60:02d}:{whole % 60:02d}" if whole < 3600 else countdown(whole)


def banner(world: World, width: int) -> tuple[Line, ...]:
    """What is wrong, since when the data are old, and what can be done; nothing while all is well."""
    link = world.link
    if link.phase != "lost":
        return ()
    where = f" ({link.why}; {safe(world.server)})"
    if link.final:
        first = f" THE SERVER REFUSES{where}"
        second = " r try again · : ctx NAME another server · q quit"
        return line(Piece(cut(first, width))), line(Piece(cut(second, width)))
    data = f"data as of {clock(link.heard)}" if link.heard else "nothing was read yet"
    first = f" SERVER UNREACHABLE since {clock(link.since)}{where}"
    second = f" {data}, read-only until it is back · tries by itself · r now · :ctx NAME another server"
    return line(Piece(cut(first, width))), line(Piece(cut(second, width)))


def foot(page: str, world: World, shown: str, said: str, width: int) -> tuple[Line, list[Hit]]:
    """Keys that fit, each of which can be clicked; at the right what part of the list is shown."""
    right = line(Piece(f"{shown} " if shown else "", "dim"))
    if said:
        return spread(line(Piece(f" {said}", "say")), right, width), []
    pieces: list[Piece] = [Piece(" ")]
    hits: list[Hit] = []
    used = 1
    room = width - length(right) - 1
    keys = footer(page, writable=world.link.writable())
    # The last two, help and quit, always have room.
    last = sum(len(k.shown) + 1 + len(k.word) + len(GAP) for k in keys[-2:])
    for number, key in enumerate(keys):
        cells = len(key.shown) + 1 + len(key.word)
        if number < len(keys) - 2 and used + cells + len(GAP) + last > room:
            continue
        pieces += [Piece(key.shown, "key"), Piece(f" {key.word}{GAP}", "dim")]
        hits.append(Hit(used, used + cells, key.action))
        used += cells + len(GAP)
    return spread(pieces, right, width), hits


def too_small(width: int, height: int) -> str:
    """Why nothing can be shown; "" when it can."""
    if width >= NARROW and height >= SHORT:
        return ""
    return f"needs {NARROW}x{SHORT}, this is {width}x{height}"
