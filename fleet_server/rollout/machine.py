"""The state machines of a rollout and of one device in it, as tables: every cell is written, nothing is outside.

Rules: time enters as an event (EXPIRED and its like are decided elsewhere), nothing here reads a clock; None cannot
happen and raises; a phase that maps to itself stays as it is. docs/rollouts.md draws both.
"""

from __future__ import annotations

from enum import StrEnum

from fleet_server.rollout.facts import Act
from fleet_server.rollout.state import DeviceRecord, Phase, State


class Event(StrEnum):
    """What happens to a device."""

    __hash__ = str.__hash__

    FETCH = "fetch"  # told to fetch
    GIVE = "give"  # told to run it
    WELL = "well"  # it says that it is well
    PROVED = "proved"  # for long enough
    UNSURE = "unsure"  # it cannot say
    FAIL = "fail"
    RETRY = "retry"
    LEAVE = "leave"  # skipped, pinned, or a newer rollout's
    JOIN = "join"  # no more left out
    TAKE_BACK = "take-back"  # told to go back
    BACK = "back"  # it runs what it ran before


class ImpossibleEventError(Exception):
    """A cell that cannot be reached was: a fault of the engine, never of a device or a person."""


P, E = Phase, Event
_NONE: dict[Event, Phase | None] = dict.fromkeys(Event)
NEXT: dict[Phase, dict[Event, Phase | None]] = {
    P.QUEUED: _NONE | {E.FETCH: P.FETCHING, E.GIVE: P.GIVEN, E.FAIL: P.FAILED, E.LEAVE: P.LEFT_OUT},
    P.FETCHING: _NONE
    | {E.GIVE: P.GIVEN, E.FAIL: P.FAILED, E.RETRY: P.QUEUED, E.LEAVE: P.LEFT_OUT, E.TAKE_BACK: P.REVERTING},
    P.GIVEN: _NONE
    | {E.WELL: P.PROVING, E.UNSURE: P.UNJUDGED, E.FAIL: P.FAILED, E.RETRY: P.QUEUED, E.LEAVE: P.LEFT_OUT}
    | {E.TAKE_BACK: P.REVERTING},
    P.PROVING: _NONE
    | {E.PROVED: P.HEALTHY, E.UNSURE: P.UNJUDGED, E.FAIL: P.FAILED, E.RETRY: P.QUEUED, E.LEAVE: P.LEFT_OUT}
    | {E.TAKE_BACK: P.REVERTING},
    P.HEALTHY: _NONE | {E.FAIL: P.FAILED, E.LEAVE: P.LEFT_OUT, E.TAKE_BACK: P.REVERTING},
    P.UNJUDGED: _NONE | {E.WELL: P.PROVING, E.FAIL: P.FAILED, E.LEAVE: P.LEFT_OUT, E.TAKE_BACK: P.REVERTING},
    P.FAILED: _NONE
    | {E.WELL: P.PROVING, E.RETRY: P.QUEUED, E.LEAVE: P.LEFT_OUT, E.TAKE_BACK: P.REVERTING, E.BACK: P.REVERTED},
    P.LEFT_OUT: _NONE | {E.JOIN: P.QUEUED},
    P.REVERTING: _NONE | {E.BACK: P.REVERTED, E.FAIL: P.FAILED, E.LEAVE: P.LEFT_OUT},
    P.REVERTED: _NONE | {E.LEAVE: P.LEFT_OUT},
}

S = State
ALLOWED: dict[Act, dict[State, State]] = {
    # act: from -> to; a state that is not named refuses the act
    Act.START: {S.PLANNED: S.RUNNING},
    Act.PAUSE: {S.RUNNING: S.PAUSED},
    Act.RESUME: {S.PAUSED: S.RUNNING},
    Act.PROMOTE: {S.RUNNING: S.RUNNING, S.PAUSED: S.RUNNING},
    Act.APPROVE: {S.PLANNED: S.PLANNED, S.RUNNING: S.RUNNING, S.PAUSED: S.PAUSED},
    Act.DENY: {S.RUNNING: S.PAUSED, S.PAUSED: S.PAUSED},
    Act.ABORT: {S.PLANNED: S.ABORTED, S.RUNNING: S.ABORTED, S.PAUSED: S.ABORTED, S.COMPLETE: S.ABORTED},
    Act.REVERT: {
        S.RUNNING: S.REVERTING, S.PAUSED: S.REVERTING, S.ABORTED: S.REVERTING, S.COMPLETE: S.REVERTING,
        S.REVERTED: S.REVERTING,  # after one wave alone went back
    },
    Act.RETRY_FAILED: {
        S.RUNNING: S.RUNNING, S.PAUSED: S.PAUSED, S.COMPLETE: S.RUNNING, S.REVERTING: S.REVERTING,
        S.REVERTED: S.REVERTING,
    },
    Act.LIFT: {S.ABORTED: S.ABORTED, S.REVERTING: S.REVERTING, S.REVERTED: S.REVERTED},
    **{
        act: {s: s for s in (S.RUNNING, S.PAUSED, S.COMPLETE)}
        for act in (Act.SKIP_DEVICE, Act.FORCE_DEVICE, Act.HOLD, Act.UNHOLD, Act.PIN, Act.UNPIN)
    },
}  # fmt: skip

GIVES = frozenset({S.RUNNING, S.COMPLETE})  # COMPLETE: devices that come late
JUDGES = frozenset({S.RUNNING, S.PAUSED, S.COMPLETE})
TAKES_BACK = frozenset({S.REVERTING, S.REVERTED})
ENDED = frozenset({S.ABORTED, S.REVERTED, S.COMPLETE})
UNFINISHED = frozenset({P.QUEUED, P.FETCHING, P.GIVEN, P.PROVING})
IN_HAND = frozenset({P.FETCHING, P.GIVEN, P.PROVING, P.REVERTING})
HAVE_IT = frozenset({P.FETCHING, P.GIVEN, P.PROVING, P.HEALTHY, P.UNJUDGED, P.FAILED})


def move(record: DeviceRecord, event: Event, now: int) -> None:
    """Raises ImpossibleEventError."""
    phase = NEXT[record.phase][event]
    if phase is None:
        raise ImpossibleEventError(f"{record.device_id}: {event} while {record.phase}")
    record.phase, record.since = phase, now
