"""Rows of rollouts as values: what the store takes and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout. `change` says what it brings and how, and never changes; `record` is where it stands.

    `closed`: nothing can happen in it by itself any more. `seq` grows with each new rollout; 0 on the way in.
    """

    rollout_id: str
    fleet: str
    app: str
    created_at: int
    change: bytes
    record: bytes
    state: str
    closed: bool = False
    seq: int = 0


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One device of a rollout. `record` None: it was not placed in a wave yet. `before`: the app as the device was told
    to run it before the release was given to it (JSON; "": it had none; None: nothing was given)."""

    rollout_id: str
    device_id: str
    phase: str
    record: bytes | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class VerbRow:
    """What somebody asked of a rollout. `refused`: why it was not done; "": it was."""

    rollout_id: str
    seq: int
    at: int
    act: str
    by: str
    device_id: str = ""
    wave: str = ""
    reason: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One thing that was decided, in words; of single devices only what failed."""

    rollout_id: str
    at: int
    kind: str
    element: str
    text: str


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A release that nobody gets, in any fleet, until a person lifts it."""

    app: str
    release: str
    since: int
    rollout_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class PinRow:
    """An app that stays as it is on one device, until a time (0: until somebody unpins it)."""

    device_id: str
    app: str
    release: str
    by: str
    since: int
    until: int
    reason: str


class WatchedRow(NamedTuple):
    """All that is known of one active device, in one row. `said_*`: what it last said that it has accepted."""

    device_id: str
    labels: str
    last_seen: int | None
    online: int | None
    online_since: int | None
    said_generation: int | None
    heard_at: int | None
    document: bytes | None
    generation: int | None
    sha256: str | None
    payload: bytes | None
