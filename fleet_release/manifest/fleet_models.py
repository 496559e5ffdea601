"""fleet.yaml: which devices, which apps, which values; how a change is rolled out stands in `rollout_models`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from fleet_protocol.documents.base import ConfigKeyName, LabelKey, LabelValue, Name
from fleet_protocol.wire import bounds
from fleet_release.manifest.fields import DurationSeconds, Part, Size, as_text
from fleet_release.manifest.rollout_models import Contact, Rollout, Window

LABELS_SCHEMA = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
APP_AT = rf"{bounds.NAME_PATTERN}@{bounds.VERSION_PATTERN}"
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


Selector = Annotated[
    dict[LabelKey, LabelValue],
    BeforeValidator(_select),
    WithJsonSchema({"anyOf": [{"type": "string", "const": "all"}, LABELS_SCHEMA]}),
]
AppReference = Annotated[
    str, BeforeValidator(_app_at), WithJsonSchema({"type": "string", "pattern": r"^[a-z0-9-]+@[0-9A-Za-z.+-]+$"})
]


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
