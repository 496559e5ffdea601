"""One device: its state and why, services with their limits, what is desired, and its events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tui.model.line import Line, Piece, crop, line, spread
from tui.model.rows import DeviceRow, happening, mapping_of, number_of, rows_of, text_of
from tui.model.states import SEVERITY, symbol, word
from tui.model.text import age, amount, day_clock, fit, plural, span
from tui.model.world import World
from tui.pages.body import Body, Entry, Page, View, blocks, message, title

SERVICE_STATES = {"running": "ok", "starting": "updating", "stopping": "updating", "waiting": "held",
                  "completed": "ok", "backoff": "degraded", "crash-loop": "degraded", "failed": "failed",
                  "stopped": "held"}  # fmt: skip
APP_STATES = {"stopped": "held"}
DAY_S = 86400


def body(world: World, view: View, width: int, _height: int) -> Body:
    """All that is known of it; the list's row until the rest has come."""
    row = world.roster.rows.get(view.about)
    details = world.details.get(view.about)
    if row is None and details is None:
        gone = world.loaded and world.link.phase == "live"
        return message(f"There is no device {view.about} any more." if gone else f"Reading {view.about} ...")
    entries = _first(row, width) if details is None or row is None else _whole(row, details, world, width)
    return Page(entries)


def newest(world: World, name: str, width: int) -> Body:
    """The device's events, for a pane of their own."""
    found = _events(world.details.get(name, {}), name, world.now)
    return Page([title("EVENTS", "newest first" if found else "", width), *found])


def preview(world: World, name: str, width: int, *, events: bool) -> Body:
    """The row beside the list: the same, for a narrow pane; with the events where they have no pane of their own."""
    row = world.roster.rows.get(name)
    if row is None:
        return message("")
    details = world.details.get(name)
    entries = [Entry(line(Piece(f" {name}", "title"))), Entry(line(" ", word(row.state)))]
    entries += [Entry(line(f" {part}")) for part in _wrapped(row.why, width - 2)]
    entries += [Entry(line())]
    for label in filter(None, row.labels.split(",")):
        entries.append(Entry(line(Piece(f" {label}", "dim"))))
    entries += [
        Entry(line(Piece(" fleets  ", "dim"), row.fleets or "-")),
        Entry(line(Piece(" gen     ", "dim"), f"runs {row.generation}, desired {row.desired}")),
        Entry(line(Piece(" seen    ", "dim"), _seen(row, world.now))),
    ]
    if details is None:
        entries += [Entry(line(Piece(f" {part}", "dim"))) for part in filter(None, row.runs.split(", "))]
        return Page(entries)
    entries += [Entry(line()), *_services(details, width)]
    if events:
        entries += [Entry(line()), title("EVENTS", "", width), *_events(details, name, world.now)]
    return Page([Entry(crop(e.line, width), e.key) for e in entries])


def status(world: World, view: View, width: int) -> Line:
    """Where it belongs."""
    row = world.roster.rows.get(view.about)
    if row is None:
        return line()
    return spread(
        line(Piece(f" {row.labels or 'no labels'}", "dim")), line(Piece(f"fleets {row.fleets or '-'} ", "dim")), width
    )


def _first(row: DeviceRow | None, width: int) -> list[Entry]:
    if row is None:
        return []
    return [
        Entry(line(" ", word(row.state), f"  {row.why}")),
        Entry(line()),
        Entry(line(Piece(f" {row.runs or 'runs nothing'}", "dim"))),
        Entry(line(Piece(fit(" Reading more ...", width), "dim"))),
    ]


def _whole(row: DeviceRow, details: Mapping[str, Any], world: World, width: int) -> list[Entry]:
    reported = mapping_of(details.get("reported"))
    out = [Entry(line(" ", word(row.state), "  ", Piece(part, "strong"))) for part in _wrapped(row.why, width - 16)]
    out = out or [Entry(line(" ", word(row.state)))]
    out += [Entry(_link_line(row, details, world.now, width)), Entry(_host_line(reported)), Entry(line())]
    out += _services(details, width)
    out += [Entry(line()), *_desired(row, details, reported, width)]
    newest = _events(details, row.name, world.now)
    out += [Entry(line()), title("EVENTS", "newest first" if newest else "none known", width), *newest]
    return out


def _link_line(row: DeviceRow, details: Mapping[str, Any], now: float, width: int) -> Line:
    link = Piece("● connected", "ok") if row.online else Piece("○ not connected", "quiet")
    left = number_of(details.get("certificate_expires")) - now
    sure = "failed" if left < DAY_S else "degraded" if left < 7 * DAY_S else "dim"
    cert = Piece(f"certificate {span(left)} left " if left > 0 else "certificate expired ", sure)
    return spread(line(" ", link, Piece(f"  seen {_seen(row, now)}", "dim")), line(cert), width)


def _host_line(reported: Mapping[str, Any]) -> Line:
    host = mapping_of(reported.get("host"))
    facts = [f"{text_of(k)} {text_of(v) if isinstance(v, str) else v}" for k, v in host.items()
             if isinstance(v, str | int) and not isinstance(v, bool)]  # fmt: skip
    daemon = text_of(reported.get("daemon_version"))
    return line(
        Piece(f" {', '.join([*facts, *([f'daemon {daemon}'] if daemon else [])]) or 'it has not reported yet'}", "dim")
    )


def _services(details: Mapping[str, Any], width: int) -> list[Entry]:
    apps = rows_of(mapping_of(details.get("reported")).get("apps"))
    if not apps:
        return [title("SERVICES", "it runs nothing", width)]
    narrow = width < 70
    heads = f"   {'':<20}{'STATE':<13}{'MEM / LIMIT':>15}  {'':<8}{'PIDS':>9}{'RESTARTS':>10}"
    out = [title("SERVICES", "", width)] if narrow else [Entry(line(Piece(heads, "head")))]
    for app in apps:
        state = text_of(app.get("state"))
        release, desired = text_of(app.get("release")) or "-", text_of(app.get("desired_release"))
        said = f"not {desired}" if desired and desired != release else ""
        why = "  ".join(filter(None, (said, text_of(app.get("why")))))
        shown = APP_STATES.get(state, state)
        name = text_of(app.get("app"))
        out.append(
            Entry(line("   ", Piece(fit(f"{name} {release}", 20), "strong"), word(shown), Piece(f"  {why}", "dim")))
        )
        for service in rows_of(app.get("services")):
            out.append(Entry(_service(service, narrow=narrow)))
            if said := text_of(service.get("why")):
                out.append(Entry(line(Piece(f"       {said}", "dim"))))
    return out


def _service(service: Mapping[str, Any], *, narrow: bool) -> Line:
    state = text_of(service.get("state"))
    style = SERVICE_STATES.get(state, "unknown")
    if text_of(service.get("health")) == "unhealthy":
        style = "degraded"
    limits = mapping_of(service.get("limits"))
    used, limit = number_of(service.get("memory_bytes"), -1), number_of(limits.get("memory_bytes"), -1)
    first = line("     ", fit(text_of(service.get("name")), 18), symbol(style), Piece(f" {fit(state, 11)}", style))
    if narrow:
        return first
    share = used / limit if used >= 0 and limit > 0 else 0.0
    restarts, kills = number_of(service.get("restarts")), number_of(service.get("oom_kills"))
    pids = number_of(limits.get("pids"), -1)
    return (
        *first,
        Piece(f"{amount(used if used >= 0 else None):>6} / {amount(limit if limit >= 0 else None):>6}  "),
        Piece(fit(blocks(share, 8), 8), "degraded" if share >= 0.9 else "bar-fill"),
        Piece(f"{number_of(service.get('pids'))}/{pids if pids >= 0 else '-'}".rjust(9), "dim"),
        Piece(f"{restarts:>10}", "degraded" if restarts else "dim"),
        Piece(f"  {plural(kills, 'OOM kill')}" if kills else "", "failed"),
    )


def _desired(row: DeviceRow, details: Mapping[str, Any], reported: Mapping[str, Any], width: int) -> list[Entry]:
    accepted = number_of(reported.get("generation"))
    drift = row.generation != row.desired or accepted != row.desired
    head = title("DESIRED AND RUNNING", f"generation {row.desired}", width)
    said = (
        line(Piece(f"   ↻ runs {row.generation}, accepted {accepted}, desired {row.desired}", "updating"))
        if drift
        else line(
            Piece("   ● ", "ok"),
            Piece(f"runs what is desired, sha256 {text_of(details.get('desired_sha256'))[:12]}", "dim"),
        )
    )
    if row.desired == 0:
        said = line(Piece("   nothing is desired of it yet: no fleet selects it, or nothing was applied", "dim"))
    out = [head, Entry(said)]
    if refusal := mapping_of(reported.get("refusal")):
        out += [
            Entry(line(Piece(f"   {mark}{part}", "failed")))
            for mark, part in zip(
                ("✗ ", *"  " * 8), _wrapped(text_of(refusal.get("sentence")), width - 6), strict=False
            )
        ]
    return out


def _events(details: Mapping[str, Any], name: str, now: float) -> list[Entry]:
    out = []
    for row in rows_of(details.get("events")):
        event = happening(row, name)
        mark, style = SEVERITY.get(event.severity, SEVERITY["info"])
        pieces = line(
            Piece(f" {fit(day_clock(event.at, now), 11)} ", "dim"), Piece(f"{mark} ", style),
            Piece(f"{event.what}  " if event.what else "", "strong"), event.text,
        )  # fmt: skip
        out.append(Entry(pieces))
    return out


def _seen(row: DeviceRow, now: float) -> str:
    return f"{age(row.seen, now)} ago" if row.seen else "never"


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(20, width)) or ([text] if text else [])
