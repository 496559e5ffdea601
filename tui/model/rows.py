"""What a screen needs of the server's answers: small sealed values. Every foreign string is made inert here. Pure.

An answer that lacks a field, or holds another type than expected, gives an empty cell, never a fault: a terminal must
be able to look at a newer server.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from fleet_protocol.wire.bounds import MAX_INTEGER
from tui.model.text import safe

Json = dict[str, Any]


class DeviceRow(NamedTuple):
    """One line of the list of devices."""

    name: str
    state: str
    why: str
    runs: str  # "gw 1.9.0, mqtt 2.0"
    site: str
    labels: str  # "role=camera,site=lyon"
    fleets: str
    memory: int  # bytes of all containers, -1: not known
    memory_limit: int
    seen: int  # Unix seconds, 0: never
    online: bool
    generation: int  # running
    desired: int


class Enrolment(NamedTuple):
    """One request for a certificate."""

    request: str
    status: str
    name: str
    words: str
    fingerprint: str
    labels: str
    asked: int
    host: str


class Happening(NamedTuple):
    """One event of a device."""

    at: int
    device: str
    severity: str
    kind: str
    what: str  # "shop/web", or ""
    text: str


class Fleet(NamedTuple):
    """One fleet as it was applied."""

    name: str
    select: str
    runs: str


def text_of(value: object) -> str:
    """A string that is safe to print; for anything else nothing."""
    return safe(value) if isinstance(value, str) else ""


def number_of(value: object, default: int = 0) -> int:
    """A whole number within what JSON carries exactly, or the default."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_INTEGER:
        return default
    return int(value)


def mapping_of(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def rows_of(value: object) -> list[Json]:
    """The mappings in a list, or none."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list | tuple) else []


def items_of(value: object) -> list[object]:
    """The values of a list, or none."""
    return list(value) if isinstance(value, list | tuple) else []


def pairs(labels: object) -> str:
    """`role=camera,site=lyon`."""
    return ",".join(f"{text_of(k)}={text_of(v)}" for k, v in sorted(mapping_of(labels).items()))


def device_row(view: Json) -> DeviceRow:
    """From a DeviceView."""
    reported = mapping_of(view.get("reported"))
    apps = rows_of(reported.get("apps"))
    services = [s for app in apps for s in rows_of(app.get("services"))]
    used = [n for s in services if (n := number_of(s.get("memory_bytes"), -1)) >= 0]
    limits = [n for s in services if (n := number_of(mapping_of(s.get("limits")).get("memory_bytes"), -1)) >= 0]
    # Equal words on thousands of rows are kept once.
    once = sys.intern
    return DeviceRow(
        name=text_of(view.get("device_id")),
        state=once(text_of(view.get("state")) or "unknown"),
        why=once(text_of(view.get("why"))),
        runs=once(", ".join(f"{text_of(a.get('app'))} {text_of(a.get('release')) or '-'}" for a in apps)),
        site=once(text_of(mapping_of(view.get("labels")).get("site"))),
        labels=once(pairs(view.get("labels"))),
        fleets=once(", ".join(text_of(f) for f in items_of(view.get("fleets")))),
        memory=sum(used) if used else -1,
        memory_limit=sum(limits) if limits else -1,
        seen=number_of(view.get("last_seen")),
        online=view.get("online") is True,
        generation=number_of(reported.get("running_generation")),
        desired=number_of(view.get("desired_generation")),
    )


def enrolment(row: Json) -> Enrolment:
    """From an EnrolmentRow."""
    host = mapping_of(row.get("host"))
    return Enrolment(
        request=text_of(row.get("request_id")),
        status=text_of(row.get("status")),
        name=text_of(row.get("device_id")) or text_of(row.get("requested_name")),
        words=text_of(row.get("words")),
        fingerprint=text_of(row.get("fingerprint")),
        labels=pairs(row.get("labels")),
        asked=number_of(row.get("asked_at")),
        host=" ".join(text_of(v) for v in host.values() if isinstance(v, str)),
    )


def happening(row: Json, device: str = "") -> Happening:
    """From an event."""
    app, service = text_of(row.get("app")), text_of(row.get("service"))
    return Happening(
        at=number_of(row.get("at")),
        device=text_of(row.get("device_id")) or device,
        severity=text_of(row.get("severity")) or "info",
        kind=text_of(row.get("kind")),
        what="/".join(filter(None, (app, service))),
        text=text_of(row.get("text")),
    )


def fleet(row: Json) -> Fleet:
    """From a FleetSpec."""
    select = "all devices" if row.get("select_all") is True else pairs(row.get("select"))
    runs = ", ".join(f"{text_of(a.get('app'))} {text_of(a.get('version'))}" for a in rows_of(row.get("run")))
    return Fleet(text_of(row.get("name")), select or "nothing", runs)
