"""Counters, causes and fleets, from rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from fleet_protocol.documents.stream import Attention, Causes, Counters, DeviceState, FleetLine, Fleets
from fleet_server.board.order import STATES
from fleet_server.board.row import Row

MAX_CAUSES = 50
MAX_RELEASES = 20


def counters(rows: Iterable[Row], at: int) -> Counters:
    """How many devices are in which state."""
    states: Counter[DeviceState] = Counter()
    online = devices = 0
    for row in rows:
        states[row.state] += 1
        online += row.online
        devices += 1
    return Counters(at=at, devices=devices, online=online, states=dict(states))


def causes(rows: Iterable[Row]) -> Causes:
    """What needs attention, grouped by state, code and app: the worst state first, then the largest group."""
    everywhere: Counter[tuple[str, str]] = Counter()
    groups: dict[tuple[DeviceState, str, str], list[Row]] = {}
    for row in rows:
        everywhere.update(row.labels.items())
        if row.needs_attention():
            groups.setdefault((row.state, row.code, row.app), []).append(row)
    ordered = sorted(groups.items(), key=lambda g: (STATES.index(g[0][0]), -len(g[1]), g[0]))
    return Causes(
        causes=tuple(_attention(key, members, everywhere) for key, members in ordered[:MAX_CAUSES]),
        devices=sum(map(len, groups.values())),
        more=max(0, len(ordered) - MAX_CAUSES),
    )


def _attention(
    key: tuple[DeviceState, str, str], members: list[Row], everywhere: Mapping[tuple[str, str], int]
) -> Attention:
    example = min(members, key=lambda row: row.device_id)
    label, shared = common_label(members, everywhere)
    return Attention(
        state=key[0],
        code=key[1],
        app=key[2],
        why=example.why,
        devices=len(members),
        example=example.device_id,
        label=label,
        label_devices=shared,
        since=min(row.since for row in members),
    )


def common_label(members: list[Row], everywhere: Mapping[tuple[str, str], int]) -> tuple[str, int]:
    """The label that most of these devices share, and how many do. Of several the rarest in the fleet, because a label
    that everybody has explains nothing; and none where no two share one."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in members:
        counts.update(row.labels.items())
    if not counts:
        return "", 0
    pair = min(counts, key=lambda p: (-counts[p], everywhere[p], p))
    if counts[pair] == 1 < len(members):
        return "", 0
    return f"{pair[0]}={pair[1]}", counts[pair]


def fleet_lines(names: Iterable[str], rows: Iterable[Row]) -> Fleets:
    """Each fleet in numbers, by name."""
    found: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        for name in row.fleets:
            if name in found:
                found[name].append(row)
    return Fleets(fleets=tuple(_line(name, members) for name, members in sorted(found.items())))


def _line(name: str, members: list[Row]) -> FleetLine:
    running: Counter[str] = Counter(f"{app}@{release}" for row in members for app, release in row.apps.items())
    fine = sum(row.state in ("ok", "quiet") for row in members)
    return FleetLine(name=name, devices=len(members), ok=fine, running=dict(running.most_common(MAX_RELEASES)))
