"""What a rollout remembers: all of it is durable, and all that it needs beside spec and facts.

A device has a phase, a wave a state, the rollout a state. Counters, heaps and timers are made anew from these, so that
a server that was killed and started again decides as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where one device stands."""

    __hash__ = str.__hash__

    QUEUED = "queued"
    FETCHING = "fetching"  # told to fetch, not yet to install
    GIVEN = "given"  # told to run it
    PROVING = "proving"  # runs it and is well, not yet for long enough
    HEALTHY = "healthy"
    FAILED = "failed"
    UNJUDGED = "unjudged"  # it runs, and whether it is well cannot be measured
    LEFT_OUT = "left-out"  # skipped, pinned, or a newer rollout's
    REVERTING = "reverting"  # told to go back
    REVERTED = "reverted"


class State(StrEnum):
    """Where the rollout stands."""

    __hash__ = str.__hash__

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    ABORTED = "aborted"
    REVERTING = "reverting"
    REVERTED = "reverted"
    COMPLETE = "complete"


class WaveState(StrEnum):
    """Where a wave stands. Devices are given the release from OPEN on, late ones also after PASSED."""

    __hash__ = str.__hash__

    WAITING = "waiting"
    OPEN = "open"
    SOAKING = "soaking"
    PASSED = "passed"


@dataclass(slots=True)
class DeviceRecord:
    """One device of a rollout."""

    device_id: str
    wave: int
    rank: int
    phase: Phase = Phase.QUEUED
    since: int = 0  # when it came into this phase
    given_at: int = 0
    before: str | None = None  # what it ran when it was given the release
    attempts: int = 0  # that failed and were retried
    not_before: int = 0  # of the next one
    failure: str = ""  # a FailureType
    words: str = ""  # of a failure, or why it is left out
    held: str = ""  # a person's words
    forced: bool = False
    forgiven: bool = False  # its failure was seen by a person, who went on
    taken_back: bool = False  # it was told to go back
    was_well: bool = False  # then, so that its going back takes out something that worked

    def row(self) -> list[Any]:
        """As it is stored."""
        return [str(v) if isinstance(v, Phase) else v for v in (getattr(self, name) for name in self.__slots__)]

    @classmethod
    def from_row(cls, row: Iterable[Any]) -> DeviceRecord:
        """What `row` made."""
        values = dict(zip(cls.__slots__, row, strict=True))
        return cls(**{**values, "phase": Phase(values["phase"])})


@dataclass(slots=True)
class GateRecord:
    """The measurements of one gate in one wave."""

    next_at: int = 0
    state: str = "unmeasured"
    value: float | None = None
    limit: float | None = None
    successes: int = 0  # in a row
    failures: int = 0
    inconclusive: int = 0
    errors: int = 0  # in a row
    said: str = ""
    history: list[list[float | None]] = field(default_factory=list)  # [at, value], the newest 20


@dataclass(slots=True)
class WaveRecord:
    """One wave."""

    name: str
    size: int = 0  # when it was planned
    state: WaveState = WaveState.WAITING
    opened_at: int = 0
    soak_from: int = 0
    passed_at: int = 0
    promoted_by: str = ""
    approvals: dict[str, int] = field(default_factory=dict)  # who -> when
    gates: list[GateRecord] = field(default_factory=list)


@dataclass(slots=True)
class RolloutRecord:
    """The rollout itself. `release` is what it brings."""

    rollout_id: str
    app: str
    release: str
    state: State = State.PLANNED
    reason: str = ""
    by: str = ""
    started_at: int = 0
    ended_at: int = 0
    last_verb: int = 0
    devices: int = 0  # when it was planned
    quarantined: bool = False
    revert_waves: list[int] = field(default_factory=list)  # empty, when reverting: all
    gives: list[list[int]] = field(default_factory=list)  # [second, how many], of the last minute
    wells: int = 0  # devices that got well, ever
    waves: list[WaveRecord] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> RolloutRecord:
        """What `as_dict` made."""
        waves = [
            WaveRecord(**{**w, "state": WaveState(w["state"]), "gates": [GateRecord(**g) for g in w["gates"]]})
            for w in said["waves"]
        ]
        return cls(**{**said, "state": State(said["state"]), "waves": waves})
