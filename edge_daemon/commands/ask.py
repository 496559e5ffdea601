"""`edge-daemon status|ps|events`: ask the daemon on this host. Works without any server. Standard library only."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from edge_daemon.keeper.local_client import ask
from fleet_protocol.wire.errors import Exit, inert


def run(args: argparse.Namespace) -> int:
    """Exit 0 with an answer; 8 when no daemon runs."""
    answer = _answer(args)
    print(json.dumps(answer, sort_keys=True) if args.output == "json" else as_text(args.command, answer))
    return Exit.OK


def _answer(args: argparse.Namespace) -> dict[str, Any]:
    match args.command:
        case "status":
            told = ask(args.run_dir, {"ask": "status"})
            return {
                "reported": told["report"],
                "connected": told["connected"],
                "why_not_connected": told["why_not_connected"],
                "outbox": told["pending_events"],
            }
        case "events":
            return ask(args.run_dir, {"ask": "events", "count": args.lines})
        case _:
            return ask(args.run_dir, {"ask": "ps"})


def as_text(command: str, answer: dict[str, Any]) -> str:
    """For a person. Foreign text (logs, reasons) is made inert, so that a terminal only prints it."""
    match command:
        case "events":
            return "\n".join(_event(event) for event in answer["events"])
        case "ps":
            return table(_containers(answer["containers"]))
        case _:
            return _status(answer)


def _status(answer: dict[str, Any]) -> str:
    reported = answer["reported"]
    away = f"no: {inert(str(answer['why_not_connected']))}" if answer["why_not_connected"] else "no"
    lines = [
        f"device      {reported.get('device_id', '')}",
        f"connected   {'yes' if answer['connected'] else away}",
        f"generation  {reported.get('running_generation', 0)} runs, {reported.get('generation', 0)} accepted",
        f"outbox      {answer['outbox']} events",
    ]
    if preparing := reported.get("preparing"):
        lines.append(f"preparing   {inert(str(preparing))}")
    if refusal := reported.get("refusal"):
        lines.append(f"refused     {inert(str(refusal.get('sentence', '')))}")
    for app in reported.get("apps", ()):
        why = f": {inert(str(app['why']))}" if app.get("why") else ""
        lines.append(f"app         {app['app']} {app.get('release') or '-'} {app['state']}{why}")
        if verdict := app.get("verdict"):
            lines.append(f"            {inert(_verdict(verdict))}")
    return "\n".join(lines)


FIGURES = (
    ("memory", "memory_percent", "%"),
    ("peak", "memory_peak_percent", "%"),
    ("growth", "memory_slope_percent_per_h", "%/h"),
    ("throttled", "cpu_throttled_percent", "%"),
    ("processes", "pids_percent", "%"),
    ("restarts", "restarts_per_h", "/h"),
)


def _verdict(verdict: dict[str, Any]) -> str:
    """The host's own verdict in a line: figures against limits, and in brackets those of the last good before it."""
    now, before = verdict.get("now") or {}, verdict.get("before") or {}
    counts = [
        f"{verdict[key]} {words}"
        for key, words in (
            ("restarts", "restarts"),
            ("oom_kills", "killed for memory"),
            ("failed_probes", "failed probes"),
        )
        if verdict.get(key)
    ]
    figures = [
        f"{words} {now[key]:g}{unit}" + (f" ({before[key]:g}{unit})" if key in before else "")
        for words, key, unit in FIGURES
        if key in now
    ]
    return ", ".join([str(verdict.get("state", "")), *counts, *figures])


def _containers(containers: list[dict[str, Any]]) -> list[list[str]]:
    limited = ["MEM LIMIT", "CPU LIMIT", "PIDS LIMIT"]
    rows = [["APP", "RELEASE", "SERVICE", "STATE", "HEALTH", "PID", "RESTARTS", *limited, "WHY"]]
    for container in containers:
        limits = container.get("limits") or {}
        memory, cpu = limits.get("memory_bytes"), limits.get("cpu_millis")
        rows.append(
            [
                str(container["app"]),
                str(container.get("release") or "-"),
                str(container["name"]),
                str(container["state"]),
                _health(container),
                str(container.get("pid") or "-"),
                str(container.get("restarts", 0)),
                f"{memory >> 20} MiB" if memory else "-",
                f"{cpu}m" if cpu else "-",
                str(limits.get("pids") or "-"),
                inert(str(container.get("why") or "")),
            ]
        )
    some_why = any(row[-1] for row in rows[1:])
    return [row if some_why else row[:-1] for row in rows]


def _health(container: dict[str, Any]) -> str:
    word = str(container.get("health", "none"))
    unready = "not ready" if container.get("ready") is False else "ready" if container.get("ready") else ""
    return ", ".join(filter(None, ("" if word == "none" else word, unready))) or "-"


def _event(event: dict[str, Any]) -> str:
    whom = "/".join(str(event[key]) for key in ("app", "service") if event.get(key))
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(event.get("at", 0))))
    return inert(f"{at}  {event.get('severity', ''):<5}  {whom:<20}  {event.get('text', '')}")


def table(rows: list[list[str]]) -> str:
    """Columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
