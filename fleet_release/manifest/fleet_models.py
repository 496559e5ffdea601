"""fleet.yaml: which devices, which apps, which values, and how a change is rolled out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from fleet_protocol.documents.base import ConfigKeyName, LabelKey, LabelValue, Name
from fleet_protocol.wire import bounds
from fleet_release.manifest.fields import DurationSeconds, OrSchema, Part, Percent, Size, as_text

LABELS_SCHEMA = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
APP_AT = rf"{bounds.NAME_PATTERN}@{bounds.VERSION_PATTERN}"
GATE = re.compile(r"[a-z][A-Za-z0-9_]{0,40}\s*(>=|<=|>|<|==)\s*[0-9]+(\.[0-9]+)?\s*(%|ms|s)?")
ALL: dict[str, str] = {"all": "true"}


def _select(value: Any) -> Any:
    if value == "all":
        return ALL
    if isinstance(value, dict) and not value:
        raise ValueError("an empty selector selects no device; write `select: all` for all of them")
    return value


def _app_at(value: Any) -> Any:
    text = as_text(value, "wants name@version")
    if not re.fullmatch(APP_AT, text):
        raise ValueError(f'"{text}" is not name@version, such as cam@1.9.0')
    return text


def _gate(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not GATE.fullmatch(value.strip()):
        raise ValueError(f'"{value}" is not a gate such as "healthy >= 98%"')
    return {"expression": value}


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


Selector = Annotated[
    dict[LabelKey, LabelValue],
    BeforeValidator(_select),
    WithJsonSchema({"anyOf": [{"type": "string", "const": "all"}, LABELS_SCHEMA]}),
]
AppReference = Annotated[
    str, BeforeValidator(_app_at), WithJsonSchema({"type": "string", "pattern": r"^[a-z0-9-]+@[0-9A-Za-z.+-]+$"})
]


class Wave(Part):
    """One step of a rollout: a number of devices, a selection, a share, or the rest."""

    name: Name | None = None
    devices: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    select: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] | None = None
    up_to: Percent | None = None
    rest: Literal[True] | None = None

    def kinds(self) -> int:
        """How many of the four it says."""
        return sum(x is not None for x in (self.devices, self.select, self.up_to, self.rest))


class Unavailable(Part):
    """At most so many devices at once, per value of a label."""

    per: LabelKey
    devices: Annotated[int, Field(ge=1, le=1_000_000)]


class Metric(Part):
    """A number that an app reports."""

    app: Name
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    max: float | int | None = None
    min: float | int | None = None


class Gate(Part):
    """What must hold before the next wave opens."""

    expression: str | None = None
    metric: Metric | None = None


class Rollout(Part):
    """How a change reaches the fleet."""

    waves: list[
        Annotated[
            Wave,
            BeforeValidator(_wave),
            OrSchema({"type": "string", "const": "rest"}),
        ]
    ] = []
    soak: DurationSeconds | None = None
    max_unavailable: Unavailable | None = None
    stop_at: Percent | None = None
    on_fail: Literal["revert", "pause", "continue"] | None = None
    gates: list[Annotated[Gate, BeforeValidator(_gate), OrSchema({"type": "string"})]] = []


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


class Window(Part):
    """When devices may change."""

    cron: Annotated[str, BeforeValidator(_cron)]
    for_: Annotated[DurationSeconds, Field(alias="for")]
    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "device"
    canary_anytime: bool = False


class FleetSettings(Part):
    """Intervals and quotas of the selected devices."""

    report_every: DurationSeconds | None = None
    sample_every: DurationSeconds | None = None
    images_quota: Size | None = None
    log_per_container: Size | None = None


Values = dict[
    ConfigKeyName,
    Annotated[
        str,
        StringConstraints(max_length=64 * 1024),
        WithJsonSchema({"type": ["string", "number", "boolean"]}),
    ],
]


class FleetFile(Part):
    """A fleet of Roadstead: a selector over devices, the apps to run, and the rollout policy."""

    api_version: Literal["roadstead/v1"]
    kind: Literal["Fleet"]
    name: Name
    select: Selector
    run: Annotated[list[AppReference], Field(max_length=32)]
    config: dict[Name, Values] = {}
    settings: FleetSettings = FleetSettings()
    contact: Contact | None = None
    window: Window | None = None
    rollout: Rollout | None = None
