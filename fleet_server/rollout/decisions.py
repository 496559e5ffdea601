"""What is decided. Whoever carries it out stores the changed records and does what stands here in one transaction."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Give(NamedTuple):
    """Make `release` the device's desired one; `stage` fetch: it is only to be fetched yet."""

    device_id: str
    release: str
    stage: Literal["fetch", "install"]
    strategy: str


class TakeBack(NamedTuple):
    """Make what it ran before its desired one again ("": the app goes). It holds for a device that is away, too."""

    device_id: str
    release: str
    why: str


class WaveOpened(NamedTuple):
    """Its devices may have the release."""

    wave: str
    devices: int


class WavePassed(NamedTuple):
    """The next one may open. `why` says by what."""

    wave: str
    why: str


class GateMeasured(NamedTuple):
    """One measurement."""

    wave: str
    gate: str
    state: str
    said: str


class StateChanged(NamedTuple):
    """Of the rollout."""

    before: str
    after: str
    reason: str


class Quarantine(NamedTuple):
    """Nobody gets this release of the app, in any fleet, until a person lifts it (`lifted`)."""

    app: str
    release: str
    reason: str
    lifted: bool = False


class DeviceMoved(NamedTuple):
    """A device came into another phase. `words`: of a failure."""

    device_id: str
    phase: str
    words: str


class VerbRefused(NamedTuple):
    """What a person asked cannot be done now."""

    seq: int
    sentence: str


Decision = (
    Give | TakeBack | WaveOpened | WavePassed | GateMeasured | StateChanged | Quarantine | DeviceMoved | VerbRefused
)


class Decisions(NamedTuple):
    """`made` in the order in which they were decided; `changed`: records to store; `look_again`: when time alone may
    change something (None: only news or people can)."""

    made: tuple[Decision, ...]
    changed: frozenset[str]
    look_again: int | None
