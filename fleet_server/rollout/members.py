"""The devices of a rollout, counted as they change: per wave, per failure, per budget. A change costs one device.

A device's mark is what it counts as; when it changes, the old mark is taken off the counters and the new one put on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from fleet_protocol.documents.rollout import Amount, BudgetSpec, RolloutSpec
from fleet_server.rollout.facts import DeviceFacts, Opinion
from fleet_server.rollout.machine import UNFINISHED
from fleet_server.rollout.observe import is_away, unmet
from fleet_server.rollout.state import DeviceRecord, Phase

Group = tuple[str, ...]

CATEGORY = {
    Phase.QUEUED: "waiting",
    Phase.FETCHING: "updating",
    Phase.GIVEN: "updating",
    Phase.PROVING: "proving",
    Phase.HEALTHY: "healthy",
    Phase.FAILED: "failed",
    Phase.UNJUDGED: "inconclusive",
    Phase.LEFT_OUT: "left_out",
    Phase.REVERTING: "reverting",
    Phase.REVERTED: "reverted",
}
JUDGED = ("healthy", "failed", "inconclusive")


class Mark(NamedTuple):
    """What a device counts as."""

    wave: int
    category: str
    blocks: bool  # its wave does not end without it
    away: bool
    failure: str  # of a failure that nobody has forgiven
    out: bool  # the rollout has taken it out
    up: bool  # it is there and works
    back: bool  # it worked, and is being taken back
    parallel: bool
    group: Group  # its value of each budget's label


class Share:
    """The counters of one budget and one value of its label."""

    __slots__ = ("back", "out", "total", "up")

    def __init__(self) -> None:
        self.total = self.out = self.up = self.back = 0


class Members:
    """Records, facts and counters."""

    def __init__(self, spec: RolloutSpec, waves: int) -> None:
        self.spec = spec
        self.records: dict[str, DeviceRecord] = {}
        self.facts: dict[str, DeviceFacts] = {}
        self.marks: dict[str, Mark] = {}
        self.of_wave: list[set[str]] = [set() for _ in range(waves)]
        self.tally: list[Counter[str]] = [Counter() for _ in range(waves)]
        self.blocking = [0] * waves
        self.away = [0] * waves
        self.forgiven = [0] * waves
        self.failures: Counter[str] = Counter()
        self.parallel = 0
        self.reverting = 0  # and there
        self.shares: list[dict[str, Share]] = [{} for _ in spec.budgets]

    def add(self, record: DeviceRecord, facts: DeviceFacts) -> None:
        """A device that is not there yet; it counts from the first `count` on."""
        self.records[record.device_id] = record
        self.facts[record.device_id] = facts
        self.of_wave[record.wave].add(record.device_id)

    def drop(self, device_id: str) -> None:
        """It is no device of ours any more."""
        record = self.records.pop(device_id, None)
        self.facts.pop(device_id, None)
        if record is not None:
            self.of_wave[record.wave].discard(device_id)
        if (mark := self.marks.pop(device_id, None)) is not None:
            self._put(mark, -1)

    def count(self, device_id: str, now: int) -> Mark:
        """Count it as what it is now."""
        mark = self._mark(self.records[device_id], self.facts[device_id], now)
        old = self.marks.get(device_id)
        if old != mark:
            if old is not None:
                self._put(old, -1)
            self._put(mark, 1)
            self.marks[device_id] = mark
        return mark

    def judged(self, waves: Iterable[int]) -> int:
        """Devices with a judgement, without the failures that were forgiven."""
        return sum(sum(self.tally[w][c] for c in JUDGED) - self.forgiven[w] for w in waves)

    def total(self, category: str) -> int:
        """Over all waves."""
        return sum(t[category] for t in self.tally)

    def budget_blocks(self, group: Group, *, up: bool) -> int | None:
        """The index of a budget that lets no device of this group be taken out now; `up`: it works until then."""
        for index, (budget, value) in enumerate(zip(self.spec.budgets, group, strict=True)):
            share = self.shares[index][value]
            most, least = bounds(budget, share.total)
            if (most is not None and share.out >= most) or (least is not None and up and share.up <= least):
                return index
        return None

    def budget_blocks_back(self, group: Group) -> bool:
        """The same for a device that works and is to go back: only those that go back at the same time count."""
        for index, (budget, value) in enumerate(zip(self.spec.budgets, group, strict=True)):
            share = self.shares[index][value]
            most, _ = bounds(budget, share.total)
            if most is not None and share.back >= most:
                return True
        return False

    def parallel_limit(self) -> int | None:
        """How many may be in hand at once; None: any number."""
        amount = self.spec.max_parallel
        return None if amount is None else max(1, _devices(amount, len(self.records)))

    def _put(self, mark: Mark, sign: int) -> None:
        wave = mark.wave
        self.tally[wave][mark.category] += sign
        if mark.blocks:
            self.blocking[wave] += sign
        if mark.away:
            self.away[wave] += sign
        if mark.failure:
            self.failures[mark.failure] += sign
        elif mark.category == "failed":
            self.forgiven[wave] += sign
        if mark.parallel:
            self.parallel += sign
        if mark.category == "reverting":
            self.reverting += sign
        for shares, value in zip(self.shares, mark.group, strict=True):
            share = shares.get(value)
            if share is None:
                share = shares[value] = Share()
            share.total += sign
            share.out += sign * mark.out
            share.up += sign * mark.up
            share.back += sign * mark.back

    def _mark(self, record: DeviceRecord, facts: DeviceFacts, now: int) -> Mark:
        spec, phase = self.spec, record.phase
        away = is_away(facts, spec, now)
        unfinished = phase in UNFINISHED
        put_off = away and (unfinished or phase is Phase.REVERTING)
        if not put_off and phase in (Phase.QUEUED, Phase.FETCHING) and not record.forced:
            put_off = bool(record.held) or (bool(spec.preconditions) and bool(unmet(facts, spec)))
        failed = phase is Phase.FAILED
        out = phase in (Phase.GIVEN, Phase.PROVING, Phase.REVERTING) or (
            failed and record.before not in (None, facts.runs)
        )
        bad = (
            facts.verdict is not None and facts.verdict.opinion is Opinion.FAILED and facts.verdict.about == facts.runs
        )
        return Mark(
            record.wave,
            "deferred" if put_off else CATEGORY[phase],
            unfinished and (not put_off or (away and spec.offline.policy == "wait")),
            away,
            (record.failure or "other") if failed and not record.forgiven else "",
            out,
            not away and not out and not bad,
            phase is Phase.REVERTING and record.was_well and not away,
            not away and phase in (Phase.GIVEN, Phase.PROVING),
            tuple([facts.labels.get(b.per, "") if b.per else "" for b in spec.budgets]),
        )


def bounds(budget: BudgetSpec, total: int) -> tuple[int | None, int | None]:
    """(most that may be out, fewest that must be up) of a group of `total` devices."""
    most = None if budget.max_unavailable is None else max(1, _devices(budget.max_unavailable, total))
    least = None
    if budget.min_available is not None:
        amount = budget.min_available
        least = amount.devices if amount.devices is not None else -int(-total * (amount.share or 0) // 100)
    return most, least


def _devices(amount: Amount, total: int) -> int:
    return amount.devices if amount.devices is not None else int(total * (amount.share or 0) // 100)
