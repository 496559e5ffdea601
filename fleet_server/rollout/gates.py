"""Gates: a wave measured against a limit, or against the fleet that still runs the old release.

A measurement is a success, a failure, inconclusive (what a host cannot measure is never good), or an error (nobody of
the wave can be asked). What it means is added up over time: successes in a row, failures and inconclusive ones in
all, errors in a row.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from math import isfinite
from typing import NamedTuple

from fleet_protocol.documents.rollout import GateSpec
from fleet_server.rollout.facts import DeviceFacts, Verdict
from fleet_server.rollout.state import GateRecord

KEPT = 20
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
PER_HOUR = {
    "restartsPerHour": "restarts",
    "oomsPerHour": "ooms",
    "exitsPerHour": "exits",
    "probeFailuresPerHour": "probe_failures",
}
LEVELS = {
    "memory": "memory",
    "cpu": "cpu",
    "pids": "pids",
    "throttled": "throttled",
    "memorySlope": "memory_slope",
}
SHARES = frozenset({"healthy", "failed", "inconclusive"})


class Wave(NamedTuple):
    """What of a wave is measured: counts of its judged devices, and the facts of those that run the release."""

    healthy: int
    failed: int
    inconclusive: int
    devices: tuple[DeviceFacts, ...]
    reachable: int


class Measured(NamedTuple):
    """One measurement. `state` is a GateState."""

    state: str
    value: float | None
    limit: float | None
    said: str


def measure(gate: GateSpec, wave: Wave, old: Iterable[DeviceFacts], history: Iterable[tuple[int, float]]) -> Measured:
    """`old`: devices on the old release; `history`: earlier values with their times, the newest last."""
    judged = wave.healthy + wave.failed + wave.inconclusive
    if judged < gate.sample:
        return Measured("inconclusive", None, None, f"{judged} judged, {gate.sample} needed")
    if gate.value in SHARES:
        value: float | None = 100.0 * getattr(wave, gate.value) / judged
        if _could_tip(gate, wave, judged):
            return Measured("inconclusive", value, gate.limit, f"{wave.inconclusive} of {judged} cannot say")
    elif not wave.reachable:
        return Measured("error", None, None, "no device of the wave can be asked")
    else:
        value = combined(gate, wave.devices)
    if value is None:
        return Measured("inconclusive", None, None, "no device of the wave can measure it")
    limit = gate.limit
    if gate.times_old:
        base = combined(gate, old)
        if base is None:
            return Measured("inconclusive", value, None, "no device on the old release to compare with")
        limit = gate.limit * base
    return _compared(gate, value, limit, list(history))


def combined(gate: GateSpec, devices: Iterable[DeviceFacts]) -> float | None:
    """One number of many devices; None when none of them can measure it."""
    values = sorted(v for d in devices if d.verdict and (v := _value(gate, d.verdict)) is not None and isfinite(v))
    if not values:
        return None
    match gate.over:
        case "max":
            return values[-1]
        case "p95":
            return values[-(-len(values) * 95 // 100) - 1]
    return sum(values) / len(values)


def add(record: GateRecord, gate: GateSpec, found: Measured, now: int) -> None:
    """Write the measurement into the record."""
    record.successes = record.successes + 1 if found.state == "passed" else 0
    record.failures += found.state == "failed"
    record.inconclusive += found.state == "inconclusive"
    record.errors = record.errors + 1 if found.state == "error" else 0
    record.state, record.value, record.limit, record.said = found.state, found.value, found.limit, found.said
    record.history = [*record.history, [now, found.value]][-KEPT:]
    record.next_at = now + gate.every_s


def verdict(record: GateRecord, gate: GateSpec) -> str:
    """What the measurements come to: passed, failed, inconclusive (a person decides), or "" for not yet."""
    if record.failures > gate.failures or record.errors > gate.errors:
        return "failed"
    if record.inconclusive > gate.inconclusive:
        return "inconclusive"
    return "passed" if record.successes >= gate.count else ""


def _value(gate: GateSpec, said: Verdict) -> float | None:
    if gate.app is not None:
        return said.metrics.get(f"{gate.app}/{gate.value}")
    if (name := PER_HOUR.get(gate.value)) is not None:
        count = getattr(said, name)
        return None if count is None or said.observed_s <= 0 else 3600.0 * count / said.observed_s
    level: float | None = getattr(said, LEVELS[gate.value], None) if gate.value in LEVELS else None
    return level


def _could_tip(gate: GateSpec, wave: Wave, judged: int) -> bool:
    """Whether the gate would hold or not as those that cannot measure were counted."""
    if gate.value == "inconclusive" or not wave.inconclusive:
        return False
    least = getattr(wave, gate.value)
    holds = COMPARE[gate.compare]
    return holds(100.0 * least / judged, gate.limit) != holds(100.0 * (least + wave.inconclusive) / judged, gate.limit)


def _compared(gate: GateSpec, value: float, limit: float, history: list[tuple[int, float]]) -> Measured:
    said = f"{value:.4g} {gate.compare} {limit:.4g}"
    if not COMPARE[gate.compare](value, limit):
        beyond = gate.fail_at
        worse = COMPARE[">=" if gate.compare in ("<", "<=") else "<="]
        if beyond is not None and not worse(value, beyond):
            return Measured("inconclusive", value, limit, f"{said} does not hold, and it is not beyond {beyond:g} yet")
        return Measured("failed", value, limit, f"{said} does not hold")
    reached = _reaches(gate, history, limit) if gate.trend_s else None
    if reached is not None and reached <= gate.trend_s:
        return Measured("inconclusive", value, limit, f"{said}, but its trend reaches the limit in {reached} s")
    return Measured("passed", value, limit, said)


def _reaches(gate: GateSpec, history: list[tuple[int, float]], limit: float) -> int | None:
    """Seconds until the straight line through the last values meets the limit; None: it leads elsewhere."""
    if len(history) < 3:
        return None
    middle = sum(t for t, _ in history) / len(history)
    mean = sum(v for _, v in history) / len(history)
    spread = sum((t - middle) ** 2 for t, _ in history)
    if spread == 0:
        return None
    slope = sum((t - middle) * (v - mean) for t, v in history) / spread
    rising = gate.compare in ("<", "<=")
    if slope == 0 or (slope > 0) != rising:
        return None
    now = mean + slope * (history[-1][0] - middle)
    return max(0, round((limit - now) / slope))
