"""Following rollouts to their end: one line whenever something has changed, and the documented exit status."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from fleet_cli.output import Column, age, show, talk
from fleet_client.api import FleetClient
from fleet_protocol.wire.errors import Exit, UnreachableError, inert

Json = dict[str, Any]
EVERY_S = 0.5
ENDED = ("complete", "aborted", "reverted")
STATES = {
    "planned": "‖ planned",
    "running": "↻ running",
    "paused": "‖ paused",
    "aborted": "✗ aborted",
    "reverting": "↻ reverting",
    "reverted": "✗ reverted",
    "complete": "● complete",
}


def follow(server: FleetClient, names: Sequence[str], timeout: float | None, *, strict: bool) -> int:
    """Until all of them have ended; what is worst of how they did. A server that is away is waited for."""
    deadline = None if timeout is None else time.monotonic() + timeout
    waiting, said, statuses = list(names), "", [Exit.OK]
    while waiting:
        for name in list(waiting):
            try:
                view = server.rollout(name)
                words, status = line(view, time.time()), ending(view, strict=strict)
            except UnreachableError as error:  # what is decided is stored, and hosts go on: the server may come back
                words, status = f"{error.sentence()}; waiting for it", None
            if len(names) > 1:
                words = f"{name}  {words}"
            if _still(words) != said:
                click.echo(inert(words))
                said = _still(words)
            if status is not None:
                click.echo(inert(verdict(view)))
                waiting.remove(name)
                statuses.append(status)
        if waiting and deadline is not None and time.monotonic() > deadline:
            talk(f"{timeout:.0f} s have passed; {', '.join(waiting)} goes on.")
            statuses.append(Exit.TIMED_OUT)
            break
        if waiting:
            time.sleep(EVERY_S)
    return int(Exit.ROLLOUT_FAILED if Exit.ROLLOUT_FAILED in statuses else max(statuses))


def line(view: Json, now: float) -> str:
    """`wave 3/5  41 %  1484/1855 ok  14 failed  soak 4:10/10:00  gates ok(3) failed(1)`."""
    waves = view["waves"]
    at = next((i for i, w in enumerate(waves) if w["state"] != "passed"), len(waves) - 1)
    wave = waves[at]
    total = sum(w["size"] for w in waves) or 1
    parts = [f"{view['state']}:" if view["state"] != "running" else ""]
    if view["state"] in ("reverting", "reverted"):
        parts.append(f"{sum(w['reverted'] for w in waves)} back, {sum(w['reverting'] for w in waves)} to go")
    else:
        parts += [f"wave {at + 1}/{len(waves)}", f"{100 * view['done'] // total} %"]
        parts.append(f"{wave['healthy']}/{wave['size']} ok")
    counts = [(k, sum(w[k] for w in waves)) for k in ("updating", "proving", "failed", "inconclusive", "deferred")]
    parts += [f"{count} {word}" for word, count in counts if count]
    soak = next((c for c in view.get("next", ()) if c["code"] == "soak" and c.get("until")), None)
    if soak is not None:
        parts.append(f"soak ends in {clock(soak['until'] - now)}")
    gates = [g["state"] for g in wave["gates"]]
    if gates and wave["state"] == "soaking":
        parts.append("gates " + " ".join(f"{GATES[s]}({gates.count(s)})" for s in GATES if s in gates))
    parts.append(view["reason"] if view["state"] == "paused" else _waits(view))
    return "  ".join(part for part in parts if part)


GATES = {"passed": "ok", "failed": "failed", "inconclusive": "open", "error": "error", "unmeasured": "-"}


def ending(view: Json, *, strict: bool) -> Exit | None:
    """How it ended; None while it goes on. Complete with devices deferred is a good end, unless `strict`."""
    if view["state"] not in ENDED:
        return None
    if view["state"] == "complete" and any(w["updating"] + w["proving"] for w in view["waves"]):
        return None  # devices came late, and are being told now
    if view["state"] != "complete":
        return Exit.ROLLOUT_FAILED
    well = sum(w["healthy"] for w in view["waves"])
    if view["failed"] and (strict or not well):
        return Exit.ROLLOUT_FAILED
    return Exit.TIMED_OUT if strict and view["deferred"] else Exit.OK


def verdict(view: Json) -> str:
    """The last line."""
    waves = view["waves"]
    release = f"{view['app']} {view['release']}"
    if view["state"] == "complete":
        well, failed = sum(w["healthy"] for w in waves), view["failed"]
        parts = [f"{well} device(s) run {release}", f"{failed} failed" if failed else ""]
        parts.append(f"{view['deferred']} deferred" if view["deferred"] else "")
        return "complete: " + ", ".join(part for part in parts if part)
    said = [f"failed: {view['reason']}" if view["reason"] else view["state"]]
    if view["state"] == "reverted":
        left = sum(w[k] for w in waves for k in ("healthy", "proving", "updating", "inconclusive"))
        said.append(f"->  reverted {sum(w['reverted'] for w in waves)} device(s) ({left} left on {view['release']})")
    if view.get("quarantined"):
        said.append(f"; {release} is in quarantine")
    return "  ".join(said).replace("  ;", ";")


def list_rollouts(server: FleetClient, form: str) -> None:
    """As a table."""
    columns = [
        Column("NAME", lambda r: r["rollout_id"]),
        Column("STATE", lambda r: STATES[r["state"]]),
        Column("APP", lambda r: f"{r['app']} {'/'.join(r.get('before', ())) or '-'} -> {r['release']}"),
        Column("FLEET", lambda r: r.get("fleet", "-")),
        Column("WAVE", _wave),
        Column("DONE", lambda r: f"{r['done']}/{r['devices']}"),
        Column("FAILED", lambda r: str(r["failed"])),
        Column("DEFERRED", lambda r: str(r["deferred"])),
        Column("AGE", lambda r: age(r.get("started_at") or r.get("created_at"))),
        Column("WHY", lambda r: r["reason"] or "-", wide=True),
    ]
    empty = "No rollouts yet. Write fleet.yaml, then: fleet apply"
    show("Rollout", server.rollouts(), columns, form, key="rollout_id", empty=empty)


def clock(seconds: float) -> str:
    """`4:10`."""
    whole = max(0, int(seconds))
    return (
        f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"
    )


def _wave(row: Json) -> str:
    waves = row["waves"]
    passed = sum(w["state"] == "passed" for w in waves)
    return f"{min(passed + 1, len(waves))}/{len(waves)}"


def _waits(view: Json) -> str:
    skip = ("soak", "devices", "gate")
    return "; ".join(c["text"] for c in view.get("next", ()) if c["code"] not in skip)


def _still(words: str) -> str:
    """Without the clock: a line is printed when something has changed, not because time has passed."""
    return words.partition("  soak ends in ")[0]
