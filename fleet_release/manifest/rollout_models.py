"""fleet.yaml: `rollout`, `window` and `contact` as people write them; `fleet_release.rollout_spec` compiles them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from fleet_protocol.documents.base import LabelKey, LabelValue, Name
from fleet_protocol.documents.rollout import FailureType, PreconditionName, WaveName
from fleet_release.manifest.fields import DurationSeconds, OrSchema, Part, Percent, as_text
from fleet_release.values import parse_percent

GATE = re.compile(
    r"(?P<value>[a-z][A-Za-z0-9_]{0,40})\s*(?P<compare>>=|<=|>|<|==)\s*"
    r"(?P<limit>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>%/h|%|ms|s|x\s+old)?"
)


def _gate(value: Any) -> Any:
    return {"expression": value} if isinstance(value, str) else value


def _expression(value: Any) -> Any:
    text = as_text(value, "wants an expression")
    if not GATE.fullmatch(text.strip()):
        raise ValueError(f'"{text}" is not a gate such as "healthy >= 98%"')
    return text.strip()


def _wave(value: Any) -> Any:
    return {"rest": True} if value == "rest" else value


def _cron(value: Any) -> Any:
    text = as_text(value, "wants five fields of cron")
    fields = text.split()
    if len(fields) != 5 or not all(re.fullmatch(r"[0-9A-Za-z*,/#LW?-]+", f) for f in fields):
        raise ValueError(f'"{text}" is not five fields of cron, such as "0 22 * * *"')
    return text


def _overdue(value: Any) -> Any:
    text = as_text(value, "wants a multiple such as 3x")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9])?x", text):
        raise ValueError(f'"{text}" is not a multiple such as 3x')
    return text


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("wants a number of devices or a percentage such as 10%")  # noqa: TRY004
    if isinstance(value, str):
        parse_percent(value)
    elif value < 0:
        raise ValueError("wants a number of devices or a percentage such as 10%")
    return value


def _need(value: Any) -> Any:
    return {"need": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _rate(value: Any) -> Any:
    return {"perMinute": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _policy(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


def _one_or_many(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Whole = Annotated[int, Field(ge=1, le=1_000_000)]
NUMBER_OR_PERCENT = {"type": ["integer", "string"]}
Amount = Annotated[int | str, BeforeValidator(_amount), WithJsonSchema(NUMBER_OR_PERCENT)]
Expression = Annotated[str, BeforeValidator(_expression)]
CronText = Annotated[str, BeforeValidator(_cron)]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]
Person = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Approvals(Part):
    """So many of these people."""

    need: Annotated[int, Field(ge=1, le=20)]
    of: Annotated[list[Person], Field(max_length=50)] = []


class Wave(Part):
    """One step of a rollout: a number of devices, a selection or part of it, a share of the fleet, or the rest."""

    name: WaveName | None = None
    devices: Whole | None = None
    select: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] | None = None
    share: Percent | None = None
    up_to: Percent | None = None
    rest: Literal[True] | None = None
    soak: DurationSeconds | None = None
    timeout: DurationSeconds | None = None
    approvals: Annotated[Approvals, BeforeValidator(_need), OrSchema({"type": "integer"})] | None = None

    def sizes(self) -> int:
        """How many of the ways to say how much it says; a selection alone says all that match."""
        return sum(x is not None for x in (self.devices, self.share, self.up_to, self.rest))


class Budget(Part):
    """A number or a share of devices, per value of a label; without `per` of the whole fleet."""

    per: LabelKey | None = None
    devices: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    share: Percent | None = None


class Metric(Part):
    """A number that an app reports."""

    app: Name
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    max: float | int | None = None
    min: float | int | None = None


class Gate(Part):
    """What must hold before the next wave opens, and how it is measured."""

    expression: Expression | None = None
    metric: Metric | None = None
    over: Literal["mean", "max", "p95"] | None = None
    fail_at: float | int | None = None
    every: DurationSeconds | None = None
    count: Annotated[int, Field(ge=1, le=1000)] | None = None
    failures: Annotated[int, Field(ge=0, le=1000)] | None = None
    inconclusive: Annotated[int, Field(ge=0, le=1000)] | None = None
    errors: Annotated[int, Field(ge=0, le=1000)] | None = None
    sample: Whole | None = None
    trend: DurationSeconds | None = None


class Abort(Part):
    """When a rollout stops: too many failures of these types."""

    on: Annotated[
        list[FailureType],
        BeforeValidator(_one_or_many),
        OrSchema({"type": "string"}),
    ] = []
    share: Percent | None = None
    count: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    sample: Whole | None = None


class Retry(Part):
    """How often to try again after a failure of one type, and how long to wait first; twice as long each time."""

    times: Annotated[int, Field(ge=1, le=100)]
    backoff: DurationSeconds | None = None
    max: DurationSeconds | None = None


class Rate(Part):
    """Devices a minute, growing with success."""

    per_minute: Whole
    growth: Annotated[float | int, Field(ge=1, le=10)] | None = None
    every: Whole | None = None
    max: Whole | None = None


class Offline(Part):
    """What becomes of devices that are away."""

    policy: Literal["wait", "defer", "fail", "skip"] = "defer"
    after: DurationSeconds | None = None
    at_most: Percent | None = None
    lost: Literal["fail", "defer"] | None = None


class OrderBy(Part):
    """Ascending by the value of a label."""

    label: LabelKey


class Rollout(Part):
    """How a change reaches the fleet."""

    order: Literal["shuffled", "name"] | OrderBy = "shuffled"
    waves: Annotated[
        list[Annotated[Wave, BeforeValidator(_wave), OrSchema({"type": "string", "const": "rest"})]],
        Field(max_length=49),
    ] = []
    max_parallel: Amount | None = None
    success: Percent | None = None
    min_healthy: DurationSeconds | None = None
    soak: DurationSeconds | None = None
    wave_timeout: DurationSeconds | None = None
    deadline: DurationSeconds | None = None
    max_unavailable: Budget | None = None
    min_available: Budget | None = None
    rate: Annotated[Rate, BeforeValidator(_rate), OrSchema({"type": "integer"})] | None = None
    stop_at: Percent | None = None
    abort: Annotated[list[Abort], Field(max_length=15)] = []
    retry: dict[FailureType, Retry] = {}
    gates: Annotated[
        list[Annotated[Gate, BeforeValidator(_gate), OrSchema({"type": "string"})]], Field(max_length=20)
    ] = []
    require: Annotated[list[PreconditionName], Field(max_length=16)] = []
    veto: DurationSeconds | None = None
    strategy: Literal["stop-first", "start-first"] | None = None
    offline: Annotated[Offline, BeforeValidator(_policy), OrSchema({"type": "string"})] | None = None
    on_fail: Literal["revert", "revert-wave", "abort", "pause", "continue"] | None = None
    rollback_window: DurationSeconds | None = None
    quarantine: bool | None = None


class ContactRule(Part):
    """Another contact window, for devices with these labels."""

    match: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)]
    every: DurationSeconds
    overdue: Annotated[str, BeforeValidator(_overdue)] | None = None


class Contact(Part):
    """How often a device is expected to speak; further keys are named rules."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    __pydantic_extra__: dict[str, ContactRule]

    every: DurationSeconds | None = None
    overdue: Annotated[str, BeforeValidator(_overdue)] | None = None


class OpenTimes(Part):
    """Open for so long from each time that cron names."""

    cron: CronText
    for_: Annotated[DurationSeconds, Field(alias="for")]


class Window(OpenTimes):
    """When devices may change; `download`: when they may fetch, if that is another time."""

    timezone: ZoneName = "device"
    fallback: ZoneName = "UTC"
    canary_anytime: bool = False
    download: Literal["anytime"] | OpenTimes | None = None
