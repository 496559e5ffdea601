"""The smaller pages: events, fleets, enrolments, contexts, a device as raw data, the keys. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tui.model.keys import EVERYWHERE, KEYS, Key
from tui.model.line import Line, Piece, line, spread
from tui.model.rows import Enrolment, Happening, Json
from tui.model.states import SEVERITY
from tui.model.text import age, day_clock, fit, plural, safe
from tui.model.world import World
from tui.pages.body import Body, Entry, Page, View, message, title, unread
from tui.pages.columns import Column, cells, heading, place
from tui.pages.devices import HOW_TO_ENROL

RAW_LINES = 5000


def events(world: World, view: View, width: int, _height: int) -> Body:
    """Newest first; of one device, when the page is about one."""
    if world.events is None:
        return unread(world.link, "events")
    shown = [e for e in world.events if _wanted(e, view)]
    if not shown:
        whose = f" of {view.about}" if view.about else ""
        narrowed = " that match; esc clears the filter" if view.filter or view.faults else ""
        return message(f"No events{whose}{narrowed}." if world.events or view.about else "Nothing has happened yet.")
    columns = [
        Column[Happening]("TIME", 11, 11, lambda e: Piece(day_clock(e.at, world.now), "dim"), 0),
        Column[Happening]("DEVICE", 16, 22, lambda e: Piece(e.device, "strong"), 0 if not view.about else 3),
        Column[Happening]("", 1, 1, _mark, 0),
        Column[Happening]("WHAT", 12, 18, lambda e: Piece(e.what or "host", "dim"), 2),
        Column[Happening](
            "TEXT", 38, 400, lambda e: Piece(e.text, "failed" if e.severity == "error" else ""), 0, hunger=1
        ),
    ]
    placed = place(columns, width)
    return Page([Entry(cells(placed, e), e.device) for e in shown], (heading(placed),))


def events_status(world: World, view: View, width: int) -> Line:
    """What they are narrowed to."""
    parts = [view.about, f"/ {view.filter}" if view.filter else "", "warnings and errors" if view.faults else ""]
    shown = sum(1 for e in world.events or () if _wanted(e, view))
    left = "  ".join(filter(None, parts)) or "all devices"
    return spread(line(Piece(f" {left}", "filter")), line(Piece(f"{shown:,} newest ", "dim")), width)


def _wanted(event: Happening, view: View) -> bool:
    if (view.about and event.device != view.about) or (view.faults and event.severity == "info"):
        return False
    text = f"{event.device} {event.what} {event.kind} {event.text}".lower()
    return all(word in text for word in view.filter.lower().split())


def _mark(event: Happening) -> Piece:
    mark, style = SEVERITY.get(event.severity, SEVERITY["info"])
    return Piece(mark, style)


def fleets(world: World, _view: View, width: int, _height: int) -> Body:
    """Which devices, and what they run."""
    if world.fleets is None:
        return unread(world.link, "fleets")
    if not world.fleets:
        return message("No fleets yet. Write fleet.yaml, then: fleet apply")
    out: list[Entry] = [Entry(line(Piece(f"   {fit('NAME', 20)}{fit('SELECTS', 30)}RUNS", "head")))]
    for fleet in world.fleets:
        pieces = line(
            "   ", Piece(f"{fit(fleet.name, 18)}  ", "strong"), f"{fit(fleet.select, 28)}  ", Piece(fleet.runs, "dim")
        )
        out.append(Entry(spread(pieces, line(), width), fleet.name))
    return Page(out[1:], (out[0].line,))


def enrolments(world: World, _view: View, width: int, _height: int) -> Body:
    """Who waits, with the words that the host shows too; then what was decided."""
    if world.enrolments is None:
        return unread(world.link, "enrolments")
    waiting = [e for e in world.enrolments if e.status == "pending"]
    decided = [e for e in world.enrolments if e.status != "pending"]
    out = [title("WAIT FOR APPROVAL", str(len(waiting) or "nobody"), width)]
    for row in waiting:
        out += _request(row, world, width)
    if not waiting:
        out += [
            Entry(line()),
            Entry(line(Piece("   To let a host in:            ", "dim"), Piece(HOW_TO_ENROL, "strong"))),
            Entry(line(Piece("   then on the host, as root:   ", "dim"), Piece("edge-daemon enroll TOKEN", "strong"))),
        ]
    if decided:
        out += [Entry(line()), title("DECIDED", str(len(decided)), width)]
        for row in decided[:500]:
            style = "ok" if row.status == "approved" else "failed"
            out.append(
                Entry(
                    line(
                        "   ",
                        Piece(fit(row.name, 20), "dim"),
                        Piece(fit(row.status, 10), style),
                        Piece(f"{age(row.asked, world.now):>4}  {row.labels}", "dim"),
                    )
                )
            )
    return Page(out)


def _request(row: Enrolment, world: World, width: int) -> list[Entry]:
    mark = Piece(" * " if row.request in world.picked else "   ", "mark")
    right = line(Piece(f"{age(row.asked, world.now)} ago ", "dim"))
    first = spread(
        line(mark, Piece(fit(row.name, 20), "strong"), Piece(f"{row.labels}  {row.host}", "dim")), right, width
    )
    return [Entry(first, row.request), Entry(line("      ", Piece(row.words, "words"))), Entry(line())]


def contexts(rows: Sequence[Json], current: str, width: int) -> Body:
    """Servers one may look at; works while all of them are down."""
    if not rows:
        return message("No server is known yet: fleet ctx add NAME --server https://HOST:8443 ...")
    head = line(Piece(f"   {fit('NAME', 20)}{fit('SERVER', 40)}ENVIRONMENT", "head"))
    out = []
    for row in rows:
        name = safe(str(row["name"]))
        mark = Piece(" ● " if name == current else "   ", "ok")
        kind = safe(str(row["environment"])) or "-"
        pieces = line(
            mark,
            Piece(fit(name, 20), "strong"),
            fit(safe(str(row["server"])), 40),
            Piece(kind, "failed" if kind == "prod" else "dim"),
        )
        out.append(Entry(spread(pieces, line(), width), name))
    return Page(out, (head,))


def raw(world: World, view: View, _width: int, _height: int) -> Body:
    """The server's own answer."""
    details = world.details.get(view.about)
    if details is None:
        return message(f"Reading {view.about} ...")
    text = json.dumps(details, indent=2, ensure_ascii=False, sort_keys=True)
    return Page([Entry(line(f" {safe(part)}")) for part in text.split("\n")[:RAW_LINES]])


def keys(page: str, width: int) -> Body:
    """All of them; those of the page one came from first."""
    here = [k for k in KEYS if k.pages != EVERYWHERE and page in k.pages]
    others = [k for k in KEYS if k.pages != EVERYWHERE and page not in k.pages]
    everywhere = [k for k in KEYS if k.pages == EVERYWHERE]
    out: list[Entry] = []
    for name, group in ((f"ON {page.upper()}", here), ("EVERYWHERE", everywhere), ("ON OTHER PAGES", others)):
        if group:
            out += [title(name, plural(len(group), "key"), width), *(_key(k, page) for k in group), Entry(line())]
    out += [
        title("COMMANDS", ": and a word, or its beginning; tab completes", width),
        Entry(
            line(
                "   ",
                Piece(fit(":dev cam-1", 16), "key"),
                "devices that match; ",
                Piece(":device NAME", "key"),
                " goes to one",
            )
        ),
        Entry(line("   ", Piece(fit(":ctx NAME", 16), "key"), "another server; works while this one is down")),
        Entry(line("   ", Piece(fit(":theme NAME", 16), "key"), "dark, ansi, deuteranopia or mono")),
    ]
    return Page(out)


def _key(key: Key, page: str) -> Entry:
    where = "" if key.pages == EVERYWHERE or page in key.pages else f"  ({', '.join(key.pages)})"
    danger = Piece("  asks first", "degraded") if key.changes else Piece("")
    return Entry(
        line(
            "   ", Piece(fit(key.shown, 8), "key"), fit(key.word, 14), Piece(key.says, ""), danger, Piece(where, "dim")
        )
    )
