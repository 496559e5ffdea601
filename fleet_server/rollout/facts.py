"""What is known from outside when a rollout is decided: devices, what they say, and what people asked for.

Everything here is a value. Times are the server's Unix seconds, also those of a device's words: when the server heard
them, because a device's own clock may be wrong. A release is an opaque text (`cam@1.9.0`, or that with a mark of its
configuration): two are the same when the texts are.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

NOTHING_RUNS = ""


class Opinion(StrEnum):
    """What a device says of the release that it runs."""

    __hash__ = str.__hash__

    PROVING = "proving"
    HEALTHY = "healthy"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class Verdict(NamedTuple):
    """A device's own judgement of `about`. None: it cannot be measured there. Shares are per cent of the limit."""

    about: str
    opinion: Opinion
    heard_at: int
    failure: str = "other"  # a FailureType, of a failed one
    words: str = ""
    observed_s: int = 0  # over which the counts were taken
    restarts: int | None = None
    ooms: int | None = None
    exits: int | None = None
    probe_failures: int | None = None
    memory: float | None = None
    cpu: float | None = None
    pids: float | None = None
    throttled: float | None = None
    memory_slope: float | None = None  # per cent of the limit per hour
    metrics: Mapping[str, float] = {}  # "app/name" -> number


class Refused(NamedTuple):
    """A device will not run `about`."""

    about: str
    words: str
    heard_at: int


class Veto(NamedTuple):
    """An app asks to be left alone. `told`: the device's own sentence, which knows since when and how long."""

    words: str
    since: int
    told: str = ""


class DeviceFacts(NamedTuple):
    """One device. `runs` None: it has not said yet; NOTHING_RUNS: not this app."""

    device_id: str
    labels: Mapping[str, str] = {}
    zone: str | None = None  # IANA name of its time zone
    online: bool = False
    online_since: int = 0
    last_seen: int = 0
    contact_s: int = 60  # how often it is expected to speak
    overdue_s: int = 180  # silent for longer is not normal for it
    runs: str | None = None
    verdict: Verdict | None = None
    refused: Refused | None = None
    veto: Veto | None = None
    preconditions: Mapping[str, bool] = {}
    owner: str = ""  # another rollout that has this device's app in hand
    superseded_by: str = ""  # a newer rollout of this device's app


class Act(StrEnum):
    """What people may ask of a rollout."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    APPROVE = "approve"
    DENY = "deny"
    ABORT = "abort"
    REVERT = "revert"
    RETRY_FAILED = "retry-failed"
    LIFT = "lift"
    SKIP_DEVICE = "skip-device"
    FORCE_DEVICE = "force-device"
    HOLD = "hold"
    UNHOLD = "unhold"
    PIN = "pin"
    UNPIN = "unpin"


class Verb(NamedTuple):
    """One act. `seq` grows by one with each verb of a rollout; a verb is taken once, however often it is shown."""

    seq: int
    act: Act
    by: str
    device_id: str = ""
    wave: str = ""  # of approve and deny; empty: the one that waits
    reason: str = ""
