"""The list of devices: one line each, and why it is as it is. Pure."""

from __future__ import annotations

from collections.abc import Callable

from tui.model.line import Line, Piece, line, spread
from tui.model.rows import DeviceRow
from tui.model.states import SICK, word
from tui.model.text import age, amount
from tui.model.world import World
from tui.pages.body import Body, Entry, Page, View, message, unread
from tui.pages.columns import Column, Placed, cells, heading, place

HOW_TO_ENROL = "fleet enroll token --label site=lab"
ROOMY = 96  # below, WHY needs the cells


def columns(now: float, *, wide: bool, longest: int = 16, width: int = 80) -> list[Column[DeviceRow]]:
    """By falling usefulness, as `priority` says."""
    shown = [
        Column[DeviceRow](
            "NAME", max(8, min(longest, 16)), max(16, min(longest, 32)), lambda r: Piece(r.name, "strong"), 0, hunger=2
        ),
        Column[DeviceRow]("STATE", 10, 10, lambda r: word(r.state), 0),
        Column[DeviceRow]("WHY", 22, 90, lambda r: Piece(r.why or "-", "" if r.why else "dim"), 0, hunger=1),
        Column[DeviceRow]("RUNS", 10, 34 if wide else 22, lambda r: Piece(r.runs or "-", "dim"), 2),
        Column[DeviceRow]("SEEN", 4, 4, lambda r: Piece(age(r.seen, now), "dim"), 1, right=True),
    ]
    if wide or width >= ROOMY:
        shown[4:4] = [Column[DeviceRow]("MEM", 4, 4, _memory, 4, right=True)]
    if wide:
        shown[3:3] = [Column[DeviceRow]("SITE", 8, 14, lambda r: Piece(r.site or "-", "dim"), 5)]
        shown += [
            Column[DeviceRow]("GEN", 7, 9, _generation, 7, right=True),
            Column[DeviceRow]("FLEETS", 8, 20, lambda r: Piece(r.fleets or "-", "dim"), 8),
            Column[DeviceRow]("LABELS", 16, 50, lambda r: Piece(r.labels or "-", "dim"), 9),
        ]
    return shown


class DeviceList:
    """Reads the roster while it paints; nothing is copied."""

    def __init__(self, world: World, placed: list[Placed[DeviceRow]]) -> None:
        self._world, self._placed = world, placed
        self.head: tuple[Line, ...] = (heading(placed, world.roster.sort),)

    def count(self) -> int:
        """Devices that match."""
        return len(self._world.roster.names)

    def line(self, index: int) -> Line:
        """One device."""
        name = self._world.roster.names[index]
        return cells(self._placed, self._world.roster.rows[name], marked=name in self._world.marked)

    def key(self, index: int) -> str:
        """Its name."""
        return self._world.roster.names[index]

    def index(self, key: str) -> int | None:
        """Where it stands."""
        return self._world.roster.index(key)


def body(world: World, view: View, width: int, _height: int) -> Body:
    """The list, or why there is none."""
    if not world.loaded:
        return unread(world.link, "devices")
    if not world.roster.rows:
        return Page(
            [
                Entry(line()),
                Entry(line(Piece("  No devices yet. Make a token:  ", ""), Piece(HOW_TO_ENROL, "strong"))),
                Entry(
                    line(Piece("  then on the host, as root:     ", ""), Piece("edge-daemon enroll TOKEN", "strong"))
                ),
                Entry(line(Piece("  It asks to be let in on the page of enrolments: press 5.", "dim"))),
            ]
        )
    if not world.roster.names:
        return message(f"0 of {len(world.roster.rows):,} devices match{_narrowed(view)}. esc clears the filter.")
    return DeviceList(
        world, place(columns(world.now, wide=view.wide, longest=world.roster.longest, width=width), width)
    )


def status(world: World, view: View, width: int) -> Line:
    """How many are shown, and by what they are narrowed."""
    total, shown = len(world.roster.rows), len(world.roster.names)
    marked = f"   {len(world.marked):,} marked" if world.marked else ""
    right = f"{shown:,} of {total:,}   by {world.roster.sort}{marked} "
    return spread(line(Piece(f" {_said(view)}", "filter")), line(Piece(right, "dim")), width)


def keeps(view: View, of_cause: Callable[[DeviceRow], bool] | None) -> Callable[[DeviceRow], bool] | None:
    """The filter as a question to a row; None when there is none."""
    words = view.filter.lower().split()
    if not words and not view.faults and of_cause is None:
        return None

    def keep(row: DeviceRow) -> bool:
        if view.faults and row.state not in SICK:
            return False
        if of_cause is not None and not of_cause(row):
            return False
        return all(w in row.name or w in row.labels or w == row.state.lower() for w in words)

    return keep


def _said(view: View) -> str:
    parts = [f"/ {view.filter}" if view.filter else "", "faults" if view.faults else "", view.cause]
    return "  ".join(filter(None, parts)) or "all devices"


def _narrowed(view: View) -> str:
    said = _said(view)
    return "" if said == "all devices" else f" {said}"


def _memory(row: DeviceRow) -> Piece:
    if row.memory < 0:
        return Piece("-", "dim")
    if row.memory_limit <= 0:
        return Piece(amount(row.memory), "dim")
    share = row.memory / row.memory_limit
    return Piece(f"{share:.0%}", "degraded" if share >= 0.9 else "dim")


def _generation(row: DeviceRow) -> Piece:
    if row.generation == row.desired:
        return Piece(str(row.desired), "dim")
    return Piece(f"{row.generation}/{row.desired}", "updating")
