"""One rollout, of the same height for any fleet: waves, gates of the wave under way, failures by cause. Pure."""

from __future__ import annotations

from tui.model.line import Line, Piece, line, spread
from tui.model.rollouts import Because, Failing, Gate, Rollout, Wave
from tui.model.text import age, clock, countdown, fit, plural, width_of
from tui.model.world import World
from tui.pages.body import Body, Entry, Page, View, message, spark
from tui.pages.rollouts import STYLES, SYMBOLS, progress

WAVES_SHOWN = 8
GATES_SHOWN = 3
WIDEST = 150
CAUSES_SHOWN = 2
FIXED = 19  # lines, with eight waves; what a terminal has more goes to causes
GATE = {"passed": ("✓", "ok"), "failed": ("✗", "failed"), "inconclusive": ("▲", "degraded"), "error": ("▲", "degraded"),
        "unmeasured": ("·", "dim")}  # fmt: skip
WAVE = {"passed": ("✓", "ok"), "open": ("↻", "updating"), "soaking": ("↻", "updating"), "waiting": ("·", "dim")}


def body(world: World, view: View, width: int, height: int) -> Body:
    """At most 19 lines on a terminal of 24, for any fleet."""
    rollout = world.find_rollout(view.about)
    if rollout is None:
        return message("Reading the rollout ..." if world.rollouts is None else f"There is no rollout {view.about}.")
    width = min(width, WIDEST)
    entries = [Entry(text) for text in _summary(rollout, world.now, width)]
    bar = max(10, min(40, width - 66))
    entries.append(
        Entry(
            line(Piece(f"   {fit('WAVE', 18)}{'SIZE':>8}{'DONE':>8}{'FAIL':>6}  {fit('PROGRESS', bar)}  STATE", "head"))
        )
    )
    entries += [_wave(wave, number, bar, world.now) for number, wave in _shown(rollout.waves)]
    entries.append(Entry(line(Piece(f"   {'█ healthy  ▓ proving  ▒ updating  ░ not yet'}", "dim"))))
    current = rollout.waves[rollout.at_wave - 1] if rollout.waves else None
    gates = current.gates if current else ()
    entries += [
        Entry(
            _heading(f"GATES of wave {rollout.at_wave}" if gates else "GATES", "" if gates else "none measured", width)
        )
    ]
    entries += [Entry(_gate(g, width)) for g in _worst(gates)]
    entries += [Entry(_heading("WHY NOT DONE" if rollout.causes else "", "", width))] if rollout.causes else []
    entries += [_failing(f, width) for f in rollout.causes[: CAUSES_SHOWN + max(0, height - FIXED)]]
    return Page(entries)


def _summary(rollout: Rollout, now: float, width: int) -> list[Line]:
    style = STYLES.get(rollout.state, "unknown")
    left = line(
        " ", Piece(f"{SYMBOLS.get(rollout.state, '?')} {rollout.state.upper()}", style),
        f"  wave {rollout.at_wave} of {len(rollout.waves)}   {rollout.done:,} of {rollout.devices:,} done",
        Piece(f"   {rollout.failed:,} failed" if rollout.failed else "", "failed"),
        Piece(f"   {rollout.deferred:,} away" if rollout.deferred else "", "dim"),
    )  # fmt: skip
    began = f"started {clock(rollout.started, seconds=False)} {rollout.by}" if rollout.started else rollout.by
    ended = f", ended {age(rollout.ended, now)} ago" if rollout.ended else ""
    said = rollout.reason or (f"next: {_said(rollout.next[0], now)}" if rollout.next else "")
    return [
        spread(left, line(Piece(f"{rollout.ident} ", "dim")), width),
        spread(line(f" {said}"), line(Piece(f"{began}{ended} ", "dim")), width),
    ]


def _said(because: Because, now: float) -> str:
    when = f" in {countdown(because.until - now)}" if because.until > now else ""
    return f"{because.text}{when}"


def _shown(waves: tuple[Wave, ...]) -> list[tuple[int, Wave | int]]:
    """Above eight waves, those at the two ends and around the one under way; a number stands for those left out."""
    numbered = list(enumerate(waves, 1))
    if len(numbered) <= WAVES_SHOWN:
        return [*numbered]
    at = next((n for n, w in numbered if w.state != "passed"), len(waves))
    keep = {1, len(waves), at - 1, at, at + 1}
    for number in range(1, len(waves) + 1):
        if len(keep & set(range(1, len(waves) + 1))) >= WAVES_SHOWN - 2:
            break
        keep.add(number)
    out: list[tuple[int, Wave | int]] = []
    skipped = 0
    for number, wave in numbered:
        if number in keep:
            if skipped:
                out.append((number - 1, skipped))
                skipped = 0
            out.append((number, wave))
        else:
            skipped += 1
    return out


def _wave(wave: Wave | int, number: int, bar: int, now: float) -> Entry:
    if isinstance(wave, int):
        return Entry(line(Piece(f"   ... {plural(wave, 'wave')} ...", "dim")))
    mark, style = WAVE.get(wave.state, WAVE["waiting"])
    failed = wave.counts["failed"]
    begun = wave.state != "waiting"
    said = (
        f"passed {clock(wave.passed_at, seconds=False)}"
        if wave.passed_at
        else wave.why[0].text
        if wave.why
        else wave.state
    )
    if wave.why and not wave.passed_at and wave.why[0].until > now:
        said = _said(wave.why[0], now)
    pieces = line(
        "   ", Piece(fit(f"{number} {wave.name}", 18), "strong"), f"{wave.size:>8,}",
        Piece((f"{wave.done:,}" if begun else "-").rjust(8), ""),
        Piece(f"{failed if begun else '-':>6}", "failed" if failed else "dim"),
        "  ", *progress((wave,), wave.size, bar), "  ", Piece(f"{mark} {said}", style),
    )  # fmt: skip
    return Entry(pieces, f"wave {wave.name}")


def _heading(text: str, right: str, width: int) -> Line:
    space = " " * max(1, width - 2 - width_of(text) - width_of(right))
    return line(Piece(f" {text}", "title"), Piece(space), Piece(right, "dim"))


def _worst(gates: tuple[Gate, ...]) -> list[Gate]:
    order = ("failed", "error", "inconclusive", "unmeasured", "passed")
    return sorted(gates, key=lambda g: order.index(g.state) if g.state in order else 0)[:GATES_SHOWN]


def _gate(gate: Gate, width: int) -> Line:
    mark, style = GATE.get(gate.state, GATE["unmeasured"])
    value = "" if gate.value is None else f"{gate.value:g}"
    left = line("   ", Piece(f"{mark} ", style), fit(gate.text, 30), Piece(f" {value:>8}  ", "strong"),
                Piece(spark(gate.history, 12), style), Piece(f"  {gate.said}", "dim"))  # fmt: skip
    return spread(left, line(), width)


def _failing(failing: Failing, width: int) -> Entry:
    right = line(
        Piece(f"{plural(failing.devices, 'device'):>14}", "strong"), Piece(f"  {fit(failing.example, 18)} ", "dim")
    )
    return Entry(spread(line("   ", Piece("· ", "dim"), failing.cause.text), right, width), f"device {failing.example}")
