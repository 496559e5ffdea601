"""Who is in which wave. Decided once, when a rollout starts, from what is known then; who joins later comes last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from fleet_protocol.documents.rollout import RolloutSpec, WaveSpec
from fleet_server.rollout.facts import DeviceFacts
from fleet_server.rollout.observe import is_away
from fleet_server.rollout.state import DeviceRecord


def plan_waves(spec: RolloutSpec, rollout_id: str, devices: Iterable[DeviceFacts], now: int) -> list[DeviceRecord]:
    """Every device in the first wave that takes it. Those that are there come first."""
    left = sorted(devices, key=lambda d: (is_away(d, spec, now), *_order(spec, rollout_id, d)))
    total = len(left)
    placed: list[DeviceRecord] = []
    for number, wave in enumerate(spec.waves):
        chosen, left = _choose(wave, left, total, len(placed))
        placed += [DeviceRecord(d.device_id, number, len(placed) + i) for i, d in enumerate(chosen)]
    last = len(spec.waves) - 1
    placed += [DeviceRecord(d.device_id, last, len(placed) + i) for i, d in enumerate(left)]
    return placed


def late_wave(spec: RolloutSpec, device: DeviceFacts) -> int:
    """The wave of a device that joins later: the first that selects it by its labels, else the last."""
    for number, wave in enumerate(spec.waves):
        if wave.select and wave.devices is None and wave.share is None and _matches(wave.select, device.labels):
            return number
    return len(spec.waves) - 1


def _choose(
    wave: WaveSpec, left: list[DeviceFacts], total: int, before: int
) -> tuple[list[DeviceFacts], list[DeviceFacts]]:
    fitting = [d for d in left if _matches(wave.select, d.labels)] if wave.select else left
    count = len(fitting)
    if wave.devices is not None:
        count = min(count, wave.devices)
    elif wave.share is not None:
        count = _at_least_one(len(fitting) * wave.share)
    elif wave.up_to is not None:
        count = max(0, min(count, _at_least_one(total * wave.up_to) - before))
    chosen = fitting[:count]
    taken = {d.device_id for d in chosen}
    return chosen, [d for d in left if d.device_id not in taken]


def _at_least_one(hundredfold: float) -> int:
    return -int(-hundredfold // 100)


def _matches(select: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in select.items())


def _order(spec: RolloutSpec, rollout_id: str, device: DeviceFacts) -> tuple[str, str, str]:
    label = device.labels.get(spec.order_label, "\U0010ffff") if spec.order_label else ""
    chance = ""
    if spec.order == "shuffled":
        chance = blake2b(f"{rollout_id}/{device.device_id}".encode(), digest_size=8).hexdigest()
    return label, chance, device.device_id
