"""A fleet that is not there: devices that come and go, fetch, install, judge themselves, and report when connected.

Virtual seconds; chance comes from one seeded source, so that the same seed makes the same story. A device does what
it was told also while it is away, and says so when it is back: that is how real ones behave.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeVar

from fleet_server.rollout.facts import DeviceFacts, Opinion, Refused, Verdict

OLD, NEW = "app@1.0.0", "app@2.0.0"
DAY = 86400
Part = TypeVar("Part")


class Link(NamedTuple):
    """How a device is connected: up for about `up_s`, then down for about `down_s`. `down_s` None: it never returns."""

    name: str
    up_s: int
    down_s: int | None
    contact_s: int = 60
    begins_down: bool = False


STEADY = Link("steady", 400 * DAY, 1)
FLAPPING = Link("flapping", 600, 120)
SATELLITE = Link("satellite", 600, 6 * 3600, contact_s=6 * 3600, begins_down=True)
NIGHTLY = Link("off at night", 12 * 3600, 12 * 3600, contact_s=12 * 3600)
GONE = Link("never returns", 1, None, begins_down=True)


class Fault(NamedTuple):
    """What the new release does on some devices. `after_s`: so long it seems well first."""

    kind: str  # a FailureType, "refused", "dead" (it takes the network with it), or "unmeasurable"
    after_s: int = 30


@dataclass(slots=True)
class Device:
    """One host: what is so, beside what the server has been told."""

    facts: DeviceFacts
    link: Link
    fault: Fault | None
    install_s: int
    runs: str = OLD
    wanted: str = OLD
    verdict: Verdict | None = None
    refused: Refused | None = None
    online: bool = True
    epoch: int = 0  # grows with each order, so that what an older one began comes to nothing
    quarantine: set[str] = field(default_factory=set)


class Mix(NamedTuple):
    """Shares of the devices, per cent, that have this link, or on which the release has this fault."""

    links: tuple[tuple[Link, float], ...] = ()
    faults: tuple[tuple[Fault, float], ...] = ()
    only: tuple[str, str] | None = None  # a label and its value: the faults strike there alone


class World:
    """Devices and what is going to happen to them."""

    def __init__(self, mix: Mix, count: int, seed: int, start: int, labels: Mapping[str, tuple[str, ...]]) -> None:
        self._chance = Random(seed)  # noqa: S311  a simulation's, no secret's
        self._events: list[tuple[int, int, str, str, int]] = []
        self._number = 0
        self.devices: dict[str, Device] = {}
        for n in range(count):
            self._add(n, mix, start, labels)

    def next_at(self) -> int | None:
        """When something happens by itself."""
        return self._events[0][0] if self._events else None

    def due(self, now: int) -> list[DeviceFacts]:
        """Let happen what is due; the facts that the server hears of it."""
        heard: dict[str, DeviceFacts] = {}
        while self._events and self._events[0][0] <= now:
            at, _, name, what, epoch = heapq.heappop(self._events)
            device = self.devices[name]
            if self._happens(device, what, epoch, at):
                heard[name] = device.facts
        return list(heard.values())

    def order(self, name: str, release: str, now: int) -> None:
        """The server's desired state of a device changed; it hears of it when it is connected."""
        device = self.devices[name]
        device.wanted = release
        device.epoch += 1
        if device.online:
            self._begin(device, now)

    def _add(self, number: int, mix: Mix, start: int, labels: Mapping[str, tuple[str, ...]]) -> None:
        name = f"sim-{number:06d}"
        own = {key: values[number % len(values)] for key, values in labels.items()}
        own["site"] = own.get("site") or f"site-{number // 20}"
        link = _drawn(mix.links, self._chance.random() * 100) or STEADY
        struck = mix.only is None or own.get(mix.only[0]) == mix.only[1]
        fault = _drawn(mix.faults, self._chance.random() * 100) if struck else None
        verdict = Verdict(OLD, Opinion.HEALTHY, start - DAY, "", "", 3600, 0, 0, 0, 0, 40.0, 10.0, 5.0, 0.0, 0.1)
        facts = DeviceFacts(
            name, own, ("Europe/Paris", "Asia/Tokyo", "America/Chicago")[number % 3],
            online=not link.begins_down, online_since=start - DAY,
            last_seen=start - (self._about(link.down_s or 30 * DAY) if link.begins_down else 1),
            contact_s=link.contact_s, overdue_s=3 * link.contact_s, runs=OLD, verdict=verdict,
        )  # fmt: skip
        self.devices[name] = Device(facts, link, fault, self._about(90), verdict=verdict, online=facts.online)
        if link.begins_down and link.down_s is not None:
            self._plan(start + self._chance.randint(1, link.down_s), name, "up", 0)
        elif link is not STEADY and not link.begins_down:
            self._plan(start + self._chance.randint(1, link.up_s), name, "down", 0)

    def _happens(self, device: Device, what: str, epoch: int, at: int) -> bool:
        name = device.facts.device_id
        match what:
            case "up":
                device.online = True
                self._plan(at + self._about(device.link.up_s), name, "down", 0)
                device.facts = device.facts._replace(online_since=at)
                if device.wanted != device.runs and device.wanted not in device.quarantine:
                    device.epoch += 1
                    self._begin(device, at)
                return self._report(device, at)
            case "down":
                device.online = False
                if device.link.down_s is not None:
                    self._plan(at + self._about(device.link.down_s), name, "up", 0)
                device.facts = device.facts._replace(online=False, last_seen=at)
                return True
        if epoch != device.epoch:
            return False
        match what:
            case "installed":
                self._installed(device, at)
                if device.link is GONE:
                    return True  # the broker's last will says so
            case "judged":
                self._judged(device, at)
        return device.online and self._report(device, at)

    def _begin(self, device: Device, now: int) -> None:
        name = device.facts.device_id
        if device.wanted == NEW and device.fault is not None and device.fault.kind == "refused":
            device.refused = Refused(NEW, "212 MB needed, 140 MB free after clean-up", now)
            self._plan(now + 2, name, "refuses", device.epoch)
            return
        self._plan(now + device.install_s, name, "installed", device.epoch)

    def _installed(self, device: Device, at: int) -> None:
        name, fault = device.facts.device_id, device.fault
        device.runs = device.wanted
        if device.wanted == NEW and fault is not None and fault.kind == "dead":
            device.online = False
            device.link = GONE
            device.facts = device.facts._replace(online=False, last_seen=at)
            self._events = [e for e in self._events if e[2] != name]
            heapq.heapify(self._events)
            return
        device.verdict = self._says(device, Opinion.PROVING, at)
        seems_well = fault.after_s if fault is not None and device.wanted == NEW else 60
        self._plan(at + seems_well, name, "judged", device.epoch)

    def _judged(self, device: Device, at: int) -> None:
        fault = device.fault if device.runs == NEW else None
        if fault is None:
            device.verdict = self._says(device, Opinion.HEALTHY, at)
        elif fault.kind == "unmeasurable":
            device.verdict = self._says(device, Opinion.INCONCLUSIVE, at)
        elif fault.after_s > 120 and device.verdict and device.verdict.opinion is Opinion.PROVING:
            # It seems well at first, and the server is told so.
            device.verdict = self._says(device, Opinion.HEALTHY, at)
            self._plan(at + fault.after_s, device.facts.device_id, "judged", device.epoch)
        else:
            device.verdict = self._says(device, Opinion.FAILED, at, fault.kind)
            device.quarantine.add(NEW)
            device.runs = OLD  # the host goes back to its last good by itself

    def _says(self, device: Device, opinion: Opinion, at: int, kind: str = "") -> Verdict:
        good = opinion is not Opinion.FAILED
        base = Verdict(device.runs, opinion, at, kind, "" if good else f"failed: {kind}", 3600)
        if opinion is Opinion.INCONCLUSIVE:
            return base
        level = 40.0 + self._chance.random() * 5
        return base._replace(
            restarts=0 if good else 3, ooms=int(kind == "oom"), exits=0, probe_failures=0, memory=level, cpu=10.0,
            pids=5.0, throttled=0.0, memory_slope=0.1,
        )  # fmt: skip

    def _report(self, device: Device, at: int) -> bool:
        verdict = device.verdict._replace(heard_at=at) if device.verdict else None
        if (
            verdict
            and device.facts.verdict
            and verdict._replace(heard_at=0) == device.facts.verdict._replace(heard_at=0)
        ):
            verdict = device.facts.verdict  # said before: heard then
        device.facts = device.facts._replace(
            online=True, last_seen=at, runs=device.runs, verdict=verdict, refused=device.refused
        )
        return True

    def _plan(self, at: int, name: str, what: str, epoch: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, name, what, epoch))

    def _about(self, seconds: int) -> int:
        return max(1, round(seconds * (0.5 + self._chance.random())))


def _drawn(parts: tuple[tuple[Part, float], ...], at: float) -> Part | None:
    for part, share in parts:
        if at < share:
            return part
        at -= share
    return None
