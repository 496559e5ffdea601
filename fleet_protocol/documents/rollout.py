"""A rollout's specification, compiled from fleet.yaml, and what operators read of a rollout.

Times are Unix seconds, durations seconds, shares per cent. The engine that carries it out is `fleet_server.rollout`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import (
    Count,
    DeviceId,
    Document,
    LabelKey,
    LabelValue,
    Name,
    OpenDocument,
    Seconds,
    Text,
    UnixTime,
    Version,
)

MAX_WAVES = 50
MAX_GATES = 20

Percent = Annotated[float, Field(ge=0, le=100)]
Devices = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[int, Field(ge=1, le=10 * 365 * 86400)]
WaveName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Operator = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Cron = Annotated[str, StringConstraints(min_length=9, max_length=200)]
Zone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
PreconditionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Selection = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]

FailureType = Literal[
    "crash", "oom", "restarts", "probe", "throttled", "memory-slope", "metric", "refused", "timeout", "lost", "other"
]
Compare = Literal[">=", "<=", ">", "<", "=="]
OnFail = Literal["pause", "abort", "revert-wave", "revert", "continue"]
RolloutState = Literal["planned", "running", "paused", "aborted", "reverting", "reverted", "complete"]
WaveState = Literal["waiting", "open", "soaking", "passed"]
GateState = Literal["unmeasured", "passed", "failed", "inconclusive", "error"]


class ApprovalSpec(Document):
    """So many different people have to agree; `of` empty: whoever may approve at all."""

    need: Annotated[int, Field(ge=1, le=20)]
    of: Annotated[tuple[Operator, ...], Field(max_length=50)] = ()


class WaveSpec(Document):
    """One step: a number of devices, a selection (or a part of it), a share of the fleet so far, or the rest."""

    name: WaveName
    select: Selection = {}
    devices: Devices | None = None
    share: Percent | None = None  # of those that `select` matches
    up_to: Percent | None = None  # of the fleet, with the waves before
    rest: bool = False
    soak_s: Seconds | None = None  # None: the rollout's
    timeout_s: Positive | None = None
    approval: ApprovalSpec | None = None


class Amount(Document):
    """A number of devices, or a share of them; exactly one."""

    devices: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    share: Percent | None = None


class BudgetSpec(Document):
    """How many devices with one value of `per` may be taken out at once (all of the rollout's, without `per`)."""

    per: LabelKey | None = None
    max_unavailable: Amount | None = None
    min_available: Amount | None = None


class RateSpec(Document):
    """At most so many a minute; multiplied by `growth` for every `every` devices that got well, up to `maximum`."""

    per_minute: Annotated[int, Field(ge=1, le=1_000_000)]
    growth: Annotated[float, Field(ge=1, le=10)] = 1.0
    every: Devices = 100
    maximum: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000_000


class AbortSpec(Document):
    """Stop when more than `share` of the devices that were told, or more than `count`, failed in one of these ways.

    Told are those that are judged, and those that are in hand and there.
    """

    on: Annotated[tuple[FailureType, ...], Field(max_length=16)] = ()  # empty: in any way
    share: Percent | None = None
    count: Count | None = None
    sample: Devices = 1  # no share is looked at before so many were told


class RetrySpec(Document):
    """Try again after `backoff_s`, twice as long each time, at most `maximum_s`."""

    times: Annotated[int, Field(ge=1, le=100)]
    backoff_s: Positive = 60
    maximum_s: Positive = 3600


class GateSpec(Document):
    """One measurement of a wave, repeated while it soaks.

    `limit` is compared with the wave's value; with `times_old` the limit is that many times what the devices still on
    the old release have. A value that fails `limit` but not `fail_at` is inconclusive.
    """

    text: Text  # as written
    value: Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9_]{0,63}$")]
    app: Name | None = None  # of a metric that an app reports
    over: Literal["mean", "max", "p95"] = "mean"
    compare: Compare
    limit: float
    times_old: bool = False
    fail_at: float | None = None
    every_s: Positive = 60
    count: Annotated[int, Field(ge=1, le=1000)] = 1  # successes in a row
    failures: Annotated[int, Field(ge=0, le=1000)] = 0  # so many are borne
    inconclusive: Annotated[int, Field(ge=0, le=1000)] = 3
    errors: Annotated[int, Field(ge=0, le=1000)] = 4  # in a row
    sample: Devices = 1
    trend_s: Seconds = 0  # inconclusive when the straight line reaches the limit within this time; 0: not looked at


class WindowSpec(Document):
    """Open for `for_s` from each time that `cron` names; `zone` None: the device's own, or `fallback`."""

    cron: Cron
    for_s: Positive
    zone: Zone | None = None
    fallback: Zone = "UTC"


class OfflineSpec(Document):
    """Devices that are away: silent for longer than `after_s`.

    `lost`: what a device is that got the release, and is then overdue.
    """

    policy: Literal["wait", "defer", "fail", "skip"] = "defer"
    after_s: Seconds = 300
    at_most: Percent = 100.0  # of a wave
    lost: Literal["fail", "defer"] = "fail"


class RolloutSpec(Document):
    """How a release reaches the devices of a fleet: `rollout` and `window` of fleet.yaml, compiled."""

    limit_bytes: ClassVar[int] = 128 * 1024

    schema_: Literal["roadstead/rollout/v1"] = Field("roadstead/rollout/v1", alias="schema")
    order: Literal["shuffled", "name"] = "shuffled"
    order_label: LabelKey | None = None  # ascending by its value first
    waves: Annotated[tuple[WaveSpec, ...], Field(min_length=1, max_length=MAX_WAVES)] = (
        WaveSpec(name="rest", rest=True),
    )
    max_parallel: Amount | None = None
    success: Percent | None = None  # of a wave's judged devices
    min_healthy_s: Seconds = 0
    soak_s: Seconds = 0
    wave_timeout_s: Positive | None = None
    progress_deadline_s: Positive = 3600
    budgets: Annotated[tuple[BudgetSpec, ...], Field(max_length=8)] = ()
    rate: RateSpec | None = None
    aborts: Annotated[tuple[AbortSpec, ...], Field(max_length=16)] = ()
    retries: dict[FailureType, RetrySpec] = {}
    gates: Annotated[tuple[GateSpec, ...], Field(max_length=MAX_GATES)] = ()
    download_window: WindowSpec | None = None
    install_window: WindowSpec | None = None
    canary_anytime: bool = False
    preconditions: Annotated[tuple[PreconditionName, ...], Field(max_length=16)] = ()
    veto_s: Seconds = 6 * 3600  # a veto is honoured this long; 0: not at all
    strategy: Literal["stop-first", "start-first"] = "stop-first"
    offline: OfflineSpec = OfflineSpec()
    on_fail: OnFail = "pause"
    rollback_window_s: Seconds = 7 * 86400
    quarantine: bool = True


class Cause(OpenDocument):
    """One link of a causal chain: why something is as it is."""

    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,31}$")]
    text: Text
    until: UnixTime | None = None  # when it is looked at again by itself; None: something must happen


class WhyNot(OpenDocument):
    """GET /v1/rollouts/{id}/devices/{device}: from the device to the root cause."""

    device_id: DeviceId
    phase: Text
    wave: WaveName | None = None
    chain: tuple[Cause, ...]


class CauseGroup(OpenDocument):
    """All devices with one cause, and one of them."""

    cause: Cause
    devices: Count
    example: DeviceId


class GateView(OpenDocument):
    """One gate of one wave: the last measurements, oldest first."""

    text: Text
    state: GateState
    value: float | None = None
    limit: float | None = None
    successes: Count = 0  # in a row
    failures: Count = 0
    inconclusive: Count = 0
    errors: Count = 0  # in a row
    history: tuple[float | None, ...] = ()
    said: Text = ""


class WaveView(OpenDocument):
    """One wave in numbers; they add up to `size`."""

    name: WaveName
    state: WaveState
    size: Count
    waiting: Count = 0
    updating: Count = 0
    proving: Count = 0
    healthy: Count = 0
    failed: Count = 0
    inconclusive: Count = 0
    deferred: Count = 0
    reverting: Count = 0
    reverted: Count = 0
    left_out: Count = 0  # skipped, pinned, owned by a newer rollout
    gates: tuple[GateView, ...] = ()
    why: tuple[Cause, ...] = ()
    passed_at: UnixTime | None = None


class RolloutView(OpenDocument):
    """GET /v1/rollouts/{id}."""

    limit_bytes: ClassVar[int] = 1024 * 1024

    rollout_id: Text
    app: Name
    release: Version
    state: RolloutState
    reason: Text = ""
    by: Text = ""
    started_at: UnixTime | None = None
    ended_at: UnixTime | None = None
    devices: Count
    done: Count
    failed: Count
    deferred: Count
    quarantined: bool = False
    waves: tuple[WaveView, ...]
    causes: tuple[CauseGroup, ...] = ()
    next: tuple[Cause, ...] = ()
