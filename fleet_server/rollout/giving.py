"""Who gets the release next, and who is told to go back: in order, within budgets, parallelism and rate.

Devices that wait for nothing of their own stand in queues, one for each group of the budgets, so that a full group
costs one look and not one for each of its devices.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from fleet_server.rollout.decisions import Give, TakeBack
from fleet_server.rollout.eligible import Wait
from fleet_server.rollout.machine import TAKES_BACK, Event
from fleet_server.rollout.members import Group, Mark
from fleet_server.rollout.observe import News
from fleet_server.rollout.state import DeviceRecord, Phase

if TYPE_CHECKING:
    from fleet_server.rollout.engine import Engine

MINUTE = 60
Key = tuple[str, Group]  # stage, group
Place = tuple[int, int, str]  # wave, rank, device


class Queues:
    """Devices that may be told something, by stage and group."""

    def __init__(self) -> None:
        self.lines: dict[Key, list[Place]] = {}
        self.line_of: dict[str, Key] = {}

    def place(self, record: DeviceRecord, mark: Mark, wait: Wait) -> None:
        """Where it belongs now; nowhere, when it waits for something of its own."""
        if wait.code:
            self.line_of.pop(record.device_id, None)
            return
        # Fetching takes nothing out, nor does telling a device to go back that is out already.
        free = wait.stage == "fetch" or (wait.stage == "back" and not mark.up)
        key = (wait.stage, () if free else mark.group)
        if self.line_of.get(record.device_id) != key:
            self.line_of[record.device_id] = key
            heapq.heappush(self.lines.setdefault(key, []), (record.wave, record.rank, record.device_id))

    def forget(self, device_id: str) -> None:
        """It is gone."""
        self.line_of.pop(device_id, None)

    def head(self, key: Key) -> Place | None:
        """The first of a queue that still stands there."""
        line = self.lines.get(key, [])
        while line and self.line_of.get(line[0][2]) != key:
            heapq.heappop(line)
        return line[0] if line else None

    def heads(self) -> list[tuple[Place, Key]]:
        """Of every queue, as a heap."""
        for key in list(self.lines):
            if self.head(key) is None:
                del self.lines[key]
        out = [(line[0], key) for key, line in self.lines.items()]
        heapq.heapify(out)
        return out


def hands_out(engine: Engine, now: int) -> bool:
    """Tell as many as may be told now; whether any was."""
    if engine.rollout.state in TAKES_BACK:
        return _takes_back(engine, now)
    if not engine.gives():
        return False
    queues, told = engine.queues, False
    heads = queues.heads()
    while heads:
        (_, _, device_id), key = heapq.heappop(heads)
        stage, group = key
        if stage == "back":
            continue
        if no_room(engine, device_id, stage, group, now):
            continue
        _give(engine, device_id, stage, now)
        told = True
        if (following := queues.head(key)) is not None:
            heapq.heappush(heads, (following, key))
    return told


def rate_limit(engine: Engine) -> int | None:
    """Devices in any minute, grown by what got well so far; None: any number."""
    rate = engine.spec.rate
    if rate is None:
        return None
    steps = min(engine.rollout.wells // rate.every, 200)
    return int(min(rate.maximum, rate.per_minute * rate.growth**steps))


def rate_used(engine: Engine, now: int) -> int:
    """Devices told in the last minute."""
    return sum(count for at, count in engine.rollout.gives if now - MINUTE < at <= now)


def times(engine: Engine) -> list[int]:
    """When the rate lets the next one through."""
    return [engine.rollout.gives[0][0] + MINUTE] if engine.rollout.gives and engine.queues.line_of else []


def no_room(engine: Engine, device_id: str, stage: str, group: Group, now: int) -> str:
    """What keeps a device that is ready: "budget", "parallel", "rate"; "" when nothing does."""
    members = engine.members
    if stage == "install":
        if members.budget_blocks(group, up=members.marks[device_id].up) is not None:
            return "budget"
        limit = members.parallel_limit()
        if limit is not None and members.parallel >= limit:
            return "parallel"
    fetched = members.records[device_id].phase is Phase.FETCHING
    allowed = rate_limit(engine)
    if allowed is not None and not fetched and rate_used(engine, now) >= allowed:
        return "rate"
    return ""


def _give(engine: Engine, device_id: str, stage: str, now: int) -> None:
    record, facts = engine.members.records[device_id], engine.members.facts[device_id]
    fetched = record.phase is Phase.FETCHING
    if not fetched:
        if record.before is None or facts.runs != engine.rollout.release:
            record.before = facts.runs  # not on another try, when it still runs what is to be taken back
        _note(engine, now)
    if stage == "fetch":
        engine.made.append(Give(device_id, engine.rollout.release, "fetch", engine.spec.strategy))
        engine.apply(device_id, News(Event.FETCH), now)
    else:
        record.given_at = now
        engine.made.append(Give(device_id, engine.rollout.release, "install", engine.spec.strategy))
        engine.apply(device_id, News(Event.GIVE), now)
    engine.touch(device_id, now)


def _note(engine: Engine, now: int) -> None:
    if engine.spec.rate is None:
        return
    gives = [g for g in engine.rollout.gives if now - MINUTE < g[0] <= now]
    if gives and gives[-1][0] == now:
        gives[-1][1] += 1
    else:
        gives.append([now, 1])
    engine.rollout.gives = gives


def _takes_back(engine: Engine, now: int) -> bool:
    queues, told = engine.queues, False
    heads = queues.heads()
    while heads:
        (_, _, device_id), key = heapq.heappop(heads)
        stage, group = key
        if stage != "back" or (group and engine.members.budget_blocks_back(group)):
            continue
        record = engine.members.records[device_id]
        record.taken_back, record.was_well = True, engine.members.marks[device_id].up
        engine.made.append(TakeBack(device_id, record.before or "", engine.rollout.reason))
        engine.apply(device_id, News(Event.TAKE_BACK), now)
        engine.touch(device_id, now)
        told = True
        if (following := queues.head(key)) is not None:
            heapq.heappush(heads, (following, key))
    return told
