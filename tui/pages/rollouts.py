"""The list of rollouts. Pure."""

from __future__ import annotations

from tui.model.line import Line, Piece, line, spread
from tui.model.rollouts import OPEN, Rollout, Wave
from tui.model.text import age, fit
from tui.model.world import World
from tui.pages.body import Body, Entry, Page, View, blocks, message, title, unread

STYLES = {
    "planned": "held", "running": "updating", "paused": "held", "reverting": "degraded", "complete": "ok",
    "aborted": "failed", "reverted": "failed",
}  # fmt: skip
SYMBOLS = {
    "planned": "‖", "running": "↻", "paused": "‖", "reverting": "↻", "complete": "●", "aborted": "✗", "reverted": "✗",
}  # fmt: skip
BAR = 20
WIDEST = 150


def body(world: World, _view: View, width: int, _height: int) -> Body:
    """Those that go on, then those that ended."""
    width = min(width, WIDEST)
    if world.rollouts is None:
        if not world.loaded:
            return unread(world.link, "rollouts")
        return message("This server has no rollouts: a change is applied to all devices at once.")
    if not world.rollouts:
        return message("No rollouts yet. Change fleet.yaml, then: fleet apply")
    live = [r for r in world.rollouts if r.state in OPEN]
    ended = [r for r in world.rollouts if r.state not in OPEN]
    entries: list[Entry] = []
    for name, group in (("UNDER WAY", live), ("ENDED", ended)):
        if group:
            entries += [title(name, str(len(group)), width)]
            entries += [Entry(_long_line(r, world.now, width), r.ident) for r in group[:500]]
            entries += [Entry(line())]
    return Page(entries[:-1])


def short_line(rollout: Rollout, width: int, bar: int = BAR) -> Line:
    """`↻ gw 1.9.0  cam-eu  ████▓▒░░  wave 3/5  41 %  why`."""
    style = STYLES.get(rollout.state, "unknown")
    share = rollout.done / rollout.devices if rollout.devices else 0.0
    left = line(
        "   ", Piece(f"{SYMBOLS.get(rollout.state, '?')} ", style), Piece(f"{fit(rollout.title, 18)} ", "strong"),
        *progress(rollout.waves, rollout.devices, bar),
        Piece(f" {share:>4.0%}", "strong"),
        Piece(f"  wave {rollout.at_wave}/{len(rollout.waves)}" if rollout.waves else "", ""),
        Piece(f"  {rollout.failed:,} failed" if rollout.failed else "", "failed"),
    )  # fmt: skip
    why = rollout.reason or (rollout.next[0].text if rollout.next else rollout.state)
    return spread((*left, Piece(f"  {why}", "dim")), line(), width)


def progress(waves: tuple[Wave, ...], size: int, width: int) -> Line:
    """Healthy, proving, on its way, failed, not yet."""
    counts = {k: sum(w.counts[k] for w in waves) for k in ("healthy", "proving", "updating", "failed")}
    if size <= 0:
        return line(Piece("░" * width, "dim"))
    out: list[Piece] = []
    left = width
    for name, mark, style in (
        ("healthy", "█", "ok"), ("failed", "█", "failed"), ("proving", "▓", "updating"), ("updating", "▒", "updating"),
    ):  # fmt: skip
        text = blocks(counts[name] / size, width, mark)[:left]
        left -= len(text)
        out.append(Piece(text, style))
    return (*out, Piece("░" * left, "dim"))


def _long_line(rollout: Rollout, now: float, width: int) -> Line:
    when = age(rollout.ended or rollout.started, now)
    right = line(Piece(f"  {fit(rollout.by, 10)} {when:>4} ", "dim"))
    style = STYLES.get(rollout.state, "unknown")
    left = short_line(rollout, width - 26, 10 if width < 100 else BAR)
    return spread((Piece("   "), Piece(fit(rollout.state, 10), style), *left[1:]), right, width)
