"""`edge-daemon status|ps|logs|events`: ask the daemon on this host, through its local socket. Works without any
server.

One line of JSON each way: `{"ask": "ps"}`, for logs also `app`, `service` and `lines`, for events `lines`; the
answer is `{"answer": ...}` or `{"error": RoadsteadError.as_dict()}`. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path
from typing import Any

from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import Exit, RoadsteadError, UnreachableError, inert

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4 << 20


class NotRunningError(UnreachableError):
    """No daemon answers on this host."""

    phase = "asking the daemon"
    component = "edge-daemon"
    code = "E0641"


class AnswerError(RoadsteadError):
    """The daemon answered that it cannot."""

    phase = "asking the daemon"
    component = "edge-daemon"
    code = "E0642"


def run(args: argparse.Namespace) -> int:
    """Exit 0 with an answer; 8 when no daemon runs."""
    question: dict[str, Any] = {"ask": args.command}
    if args.command in ("logs", "events"):
        question["lines"] = args.lines
    if args.command == "logs":
        question.update(app=args.app, service=args.service)
    answer = ask(Layout(args.state_dir, args.run_dir).socket, question)
    print(json.dumps(answer, sort_keys=True) if args.output == "json" else as_text(args.command, answer))
    return Exit.OK


def ask(path: Path, question: dict[str, Any]) -> Any:
    """What the daemon behind `path` answers. Raises NotRunningError, AnswerError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(TIMEOUT_S)
            stream.connect(str(path))
            stream.sendall(json.dumps(question).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and (piece := stream.recv(65536)):
                data += piece
                if len(data) > MAX_ANSWER_BYTES:
                    raise AnswerError("its answer is too long", element=str(path))
    except PermissionError:
        raise
    except OSError as error:
        hint = "start it: edge-daemon run"
        raise NotRunningError(error.strerror or str(error), element=str(path), hint=hint) from error
    try:
        told = json.loads(data)
        if "error" in told:
            raise AnswerError(str(told["error"]["reason"]), element=str(told["error"].get("element", "")))
        return told["answer"]
    except (ValueError, KeyError, TypeError) as error:
        raise AnswerError("its answer makes no sense", element=str(path)) from error


def as_text(command: str, answer: Any) -> str:
    """For a person. Foreign text (logs, reasons) is made inert, so that a terminal only prints it."""
    match command:
        case "logs":
            return "\n".join(inert(line) for line in answer["lines"])
        case "events":
            return "\n".join(_event(event) for event in answer["events"])
        case "ps":
            return _table(_containers(answer["reported"]))
        case _:
            return _status(answer)


def _status(answer: dict[str, Any]) -> str:
    reported = answer.get("reported", {})
    lines = [
        f"device      {reported.get('device_id', '')}",
        f"connected   {'yes' if answer.get('connected') else 'no'}",
        f"generation  {reported.get('running_generation', 0)} runs, {reported.get('generation', 0)} accepted",
        f"spooled     {answer.get('outbox', 0)} events",
    ]
    if refusal := reported.get("refusal"):
        lines.append(f"refused     {inert(str(refusal.get('sentence', '')))}")
    for app in reported.get("apps", ()):
        why = f": {inert(str(app['why']))}" if app.get("why") else ""
        lines.append(f"app         {app['app']} {app.get('release') or '-'} {app['state']}{why}")
    return "\n".join(lines)


def _containers(reported: dict[str, Any]) -> list[list[str]]:
    rows = [["APP", "SERVICE", "STATE", "PID", "RESTARTS", "MEM LIMIT", "CPU LIMIT", "PIDS LIMIT"]]
    for app in reported.get("apps", ()):
        for service in app.get("services", ()):
            limits = service.get("limits") or {}
            memory, cpu = limits.get("memory_bytes"), limits.get("cpu_millis")
            rows.append(
                [
                    str(app["app"]),
                    str(service["name"]),
                    str(service["state"]),
                    str(service.get("pid") or "-"),
                    str(service.get("restarts", 0)),
                    f"{memory >> 20} MiB" if memory else "-",
                    f"{cpu} m" if cpu else "-",
                    str(limits.get("pids") or "-"),
                ]
            )
    return rows


def _event(event: dict[str, Any]) -> str:
    whom = "/".join(str(event[key]) for key in ("app", "service") if event.get(key))
    return inert(f"{event.get('at', '')}  {event.get('severity', ''):<5}  {whom:<20}  {event.get('text', '')}")


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
