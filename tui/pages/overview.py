"""The fleet in one page: how many are how, why the sick ones are sick, what rolls, what there is. Pure."""

from __future__ import annotations

from tui.model.line import Line, Piece, line, spread
from tui.model.rollouts import OPEN
from tui.model.states import SICK, symbol
from tui.model.text import age, fit, plural
from tui.model.world import World
from tui.pages.body import Body, Entry, Page, View, title
from tui.pages.devices import HOW_TO_ENROL
from tui.pages.rollouts import short_line

CAUSES_SHOWN = 8
WIDEST = 132  # a line must be readable from end to end
ORDER = ("ok", "updating", "degraded", "failed", "held", "quiet", "OVERDUE", "unknown")


def body(world: World, _view: View, width: int, _height: int) -> Body:
    """Everything that wants a look, worst first."""
    width = min(width, WIDEST)
    entries = [Entry(text) for text in _counts(world, width)]
    if world.loaded and not world.roster.rows:
        entries += [
            Entry(line()),
            Entry(line(Piece("  No devices yet. Make a token:  "), Piece(HOW_TO_ENROL, "strong"))),
            Entry(line(Piece("  then on the host, as root:     "), Piece("edge-daemon enroll TOKEN", "strong"))),
        ]
    entries += _waiting(world, width)
    entries += [Entry(line()), *_attention(world, width)]
    entries += [Entry(line()), *_rollouts(world, width)]
    entries += [Entry(line()), *_fleets(world, width)]
    return Page(entries)


def _counts(world: World, width: int) -> list[Line]:
    counts = world.counts
    total = sum(counts.values())
    known = [(state, counts.get(state, 0)) for state in ORDER]
    stale = not world.loaded
    if stale and not world.remembered.at:
        said = "Nothing was read yet." if world.link.phase == "lost" else "Reading the fleet ..."
        return [line(Piece(f"  {said}", "dim"))]
    pieces = [Piece(f" {plural(total, 'device')}", "strong")]
    for state, count in known:
        if count:
            pieces += [Piece("   "), symbol(state), Piece(f" {count:,} ", "strong"), Piece(state, state)]
    if stale:
        pieces = [Piece(p.text, "dim") for p in pieces]
        pieces.append(Piece(f"   as of {age(world.remembered.at, world.now)} ago", "dim"))
    return [*_folded(pieces, width), _bar(known, total, width, stale=stale)]


def _folded(pieces: list[Piece], width: int) -> list[Line]:
    """On as many lines as it takes; a state is never torn apart."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for start in range(0, len(pieces), 1):
        piece = pieces[start]
        group = sum(len(p.text) for p in pieces[start : start + 4]) if piece.text == "   " else len(piece.text)
        if used + group > width - 1 and piece.text == "   ":
            lines.append([Piece("  ")])
            used = 2
            continue
        lines[-1].append(piece)
        used += len(piece.text)
    return [tuple(parts) for parts in lines]


def _bar(known: list[tuple[str, int]], total: int, width: int, *, stale: bool) -> Line:
    """The fleet as one bar; what is there at all has a cell."""
    room = width - 2
    present = [(state, count) for state, count in known if count]
    if not present or room < 8:
        return line()
    cells = {state: max(1, round(count / total * room)) for state, count in present}
    cells[max(present, key=lambda p: p[1])[0]] += room - sum(cells.values())
    return line(" ", *(Piece("▄" * max(0, cells[s]), "dim" if stale else f"fill-{s}") for s, _ in present))


def _waiting(world: World, width: int) -> list[Entry]:
    if not world.waiting:
        return []
    said = f" {plural(world.waiting, 'host')} {'asks' if world.waiting == 1 else 'ask'} to be let in"
    return [
        Entry(line()),
        Entry(
            spread(
                line(" ", Piece("? ", "updating"), Piece(said[1:], "strong")),
                line(Piece("5 enrolments ", "dim")),
                width,
            ),
            "enrolments",
        ),
    ]


def _attention(world: World, width: int) -> list[Entry]:
    found = world.causes()
    sick = sum(world.counts.get(state, 0) for state in SICK)
    if not world.loaded:
        return []
    if not found:
        return [title("NEEDS ATTENTION", "nothing", width)]
    out = [title("NEEDS ATTENTION", f"{plural(len(found), 'cause')}, {plural(sick, 'device')}", width)]
    for cause in found[:CAUSES_SHOWN]:
        where = cause.common if cause.devices > 1 else cause.example
        right = line(
            Piece(f"{plural(cause.devices, 'device'):>12}", "strong"),
            Piece(f"  {fit(where or 'several labels', 18)} ", "dim"),
        )
        said = cause.reason.replace("#", "…")
        out.append(
            Entry(spread(line("   ", symbol(cause.state), " ", said), right, width), f"cause {cause.state} {cause.key}")
        )
    if len(found) > CAUSES_SHOWN:
        out.append(Entry(line(Piece(f"   and {len(found) - CAUSES_SHOWN} more causes", "dim")), "faults"))
    return out


def _rollouts(world: World, width: int) -> list[Entry]:
    if world.rollouts is None:
        return [title("ROLLOUTS", "this server has none", width)] if world.loaded else []
    live = [r for r in world.rollouts if r.state in OPEN]
    if not live:
        return [title("ROLLOUTS", "none runs", width)]
    running = sum(r.state == "running" for r in live)
    said = ", ".join(
        filter(
            None, (f"{running} running" if running else "", f"{len(live) - running} not" if len(live) > running else "")
        )
    )
    return [title("ROLLOUTS", said, width), *(Entry(short_line(r, width), f"rollout {r.ident}") for r in live[:8])]


def _fleets(world: World, width: int) -> list[Entry]:
    if not world.fleets:
        return [] if world.fleets is None else [title("FLEETS", "none yet: fleet apply", width)]
    tally = world.tally()
    out = [Entry(line(Piece(f" {fit('FLEETS', 18)}{'DEVICES':>9}{'OK':>8}  RUNS", "title")))]
    for fleet in world.fleets[:50]:
        devices, well = tally.get(fleet.name, (0, 0))
        share = f"{well / devices:.1%}" if devices else "-"
        style = "" if devices and well == devices else "degraded" if devices else "dim"
        out.append(
            Entry(
                line(
                    "   ",
                    fit(fleet.name, 16),
                    f"{devices:>9,}",
                    Piece(f"{share:>8}", style),
                    Piece(f"  {fleet.runs}", "dim"),
                ),
                f"fleet {fleet.name}",
            )
        )
    return out
