"""One device as lists and streams have it: encoded once when something about it changed, and looked into by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet_protocol.documents.device import Reported
from fleet_protocol.documents.fleet import FleetSpec
from fleet_protocol.documents.stream import DeviceRow
from fleet_protocol.wire.where import Look, Value
from fleet_server.selection import contact_of, selects
from fleet_server.store.records import Contact, Mark, ReportedRow
from fleet_server.view import Known, State, cause, judge
from provisioning.authority.records import DeviceRecord

CLOCKED = frozenset({"silent"})
"""Fields that change by time alone."""
NEEDS_ATTENTION: frozenset[State] = frozenset({"failed", "degraded", "OVERDUE"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored of one device."""

    device: DeviceRecord
    contact: Contact | None
    reported: ReportedRow | None
    desired: Mark


@dataclass(frozen=True, slots=True)
class Row:
    """One device. Numbers of all its containers are added up; -1 where nothing is known."""

    device_id: str
    labels: Mapping[str, str]
    fleets: tuple[str, ...]
    state: State
    why: str
    code: str
    app: str
    since: int
    online: bool
    last_seen: int
    due_at: int  # 0: never seen, so never due
    apps: Mapping[str, str]
    memory: int
    memory_limit: int
    cpu: float
    cpu_read: tuple[int, int]  # microseconds used, and when that was read
    restarts: int
    oom_kills: int
    generation: int
    desired: int
    platform: str
    encoded: bytes

    def needs_attention(self) -> bool:
        """Whether somebody should look at it."""
        return self.state in NEEDS_ATTENTION

    def look(self, now: float) -> Look:
        """By the field names of docs/api.md."""
        return lambda field: _fields(self, field, now)


def _fields(row: Row, field: str, now: float) -> Iterable[Value]:
    plain = _PLAIN.get(field)
    if plain is not None:
        value = getattr(row, plain)
        return () if value in (-1, "") else (value,)
    match field:
        case "fleet":
            return row.fleets
        case "app":
            return [*row.apps, *(f"{name}@{release}" for name, release in row.apps.items())]
        case "online":
            return ("yes" if row.online else "no",)
        case "silent":
            return (max(0.0, now - row.last_seen),) if row.last_seen >= 0 else ()
        case "used":
            return (100 * row.memory / row.memory_limit,) if row.memory >= 0 and row.memory_limit > 0 else ()
    label = row.labels.get(field.removeprefix("label."))
    if label is not None:
        return (label,)
    release = row.apps.get(field)
    return () if release is None else (release,)


_PLAIN = {
    "name": "device_id", "state": "state", "why": "why", "code": "code", "cause-app": "app", "memory": "memory",
    "limit": "memory_limit", "cpu": "cpu", "restarts": "restarts", "oom": "oom_kills", "generation": "generation",
    "desired": "desired", "platform": "platform",
}  # fmt: skip


def make_row(facts: Facts, fleets: Sequence[FleetSpec], now: int, before: Row | None) -> Row:
    """The row as of `now`. From the row before come what needs two looks: since when, and how fast."""
    device = facts.device
    reported = Reported.model_validate_json(facts.reported.document) if facts.reported else None
    mine = [fleet for fleet in fleets if selects(fleet, device.labels)]
    contact = contact_of(mine, device.labels)
    seen = facts.contact.last_seen if facts.contact else None
    online = facts.contact.online if facts.contact else False
    known = Known(reported, seen, online, facts.desired, contact)
    state, why = judge(known, now)
    code, app = cause(known, state)
    due_at = int(seen + contact.every_s * contact.overdue) if seen is not None else 0
    same = before is not None and (before.state, before.code, before.app) == (state, code, app)
    since = before.since if same and before else min(now, due_at) if state == "OVERDUE" else now
    services = [s for a in reported.apps for s in a.services] if reported else []
    memory = _sum([s.memory_bytes for s in services])
    limit = _sum([s.limits.memory_bytes for s in services])
    cpu, read = _cpu(reported, before)
    shown = DeviceRow(
        device_id=device.device_id,
        labels=dict(device.labels),
        fleets=tuple(fleet.name for fleet in mine),
        state=state,
        why=why,
        code=code,
        app=app,
        since=since,
        online=online,
        last_seen=seen,
        due_at=due_at or None,
        generation=reported.generation if reported else 0,
        desired_generation=facts.desired.generation,
        preparing=reported.preparing if reported else "",
        apps={a.app: a.release for a in reported.apps if a.release} if reported else {},
        memory_bytes=None if memory < 0 else memory,
        memory_limit_bytes=None if limit < 0 else limit,
        cpu_percent=None if cpu < 0 else cpu,
        pids=None if (pids := _sum([s.pids for s in services])) < 0 else pids,
        restarts=sum(s.restarts for s in services),
        oom_kills=sum(s.oom_kills for s in services),
        platform=_platform(reported),
        certificate_expires=device.certificate_expires,
    )
    return Row(
        device_id=device.device_id,
        labels=device.labels,
        fleets=shown.fleets,
        state=state,
        why=why,
        code=code,
        app=app,
        since=since,
        online=online,
        last_seen=-1 if seen is None else seen,
        due_at=due_at,
        apps=shown.apps,
        memory=memory,
        memory_limit=limit,
        cpu=cpu,
        cpu_read=read,
        restarts=shown.restarts,
        oom_kills=shown.oom_kills,
        generation=shown.generation,
        desired=shown.desired_generation,
        platform=shown.platform,
        encoded=shown.model_dump_json(by_alias=True).encode(),
    )


def _sum(values: list[int | None]) -> int:
    """-1 when nothing is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else -1


def _cpu(reported: Reported | None, before: Row | None) -> tuple[float, tuple[int, int]]:
    read = [(s.cpu_usec, s.sampled_at) for a in reported.apps for s in a.services] if reported else []
    known = [(used, at) for used, at in read if used is not None and at is not None]
    if not known:
        return -1.0, (0, 0)
    used, at = sum(u for u, _ in known), max(a for _, a in known)
    if before is None or before.cpu_read[1] == 0 or used < before.cpu_read[0]:
        return -1.0, (used, at)  # the first look, or the containers began anew
    if at <= before.cpu_read[1]:
        return before.cpu, before.cpu_read
    return round((used - before.cpu_read[0]) / 1e4 / (at - before.cpu_read[1]), 1), (used, at)


def _platform(reported: Reported | None) -> str:
    said = reported.host.get("platform") if reported else None
    return said[:40] if isinstance(said, str) and said.isprintable() else ""
