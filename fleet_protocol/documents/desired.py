"""Desired state: what one device shall run, signed by the director (DSSE)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fleet_protocol.documents.base import (
    ConfigKeyName,
    Count,
    DeviceId,
    Document,
    Name,
    Sha256,
    UnixTime,
    Version,
)
from fleet_protocol.wire import bounds

DESIRED_TYPE = "application/vnd.roadstead.desired.v1+json"
"""DSSE payload type."""


class ValueByDigest(Document):
    """A configuration value above 1 KiB, fetched from `/v1/values/{sha256}`."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=bounds.MAX_VALUE_BYTES)]


InlineValue = Annotated[str, StringConstraints(max_length=bounds.MAX_INLINE_VALUE_BYTES)]


class DesiredApp(Document):
    """One app: which release, named by the hash of its signed target, with its configuration values."""

    app: Name
    release: Version
    sha256: Sha256
    config: Annotated[dict[ConfigKeyName, InlineValue | ValueByDigest], Field(max_length=bounds.MAX_CONFIG_KEYS)] = {}


class Settings(Document):
    """A closed set of intervals and quotas. There is no endpoint and no trust anchor here, and never will be."""

    report_every_s: Annotated[int, Field(ge=5, le=86400)] = 60
    sample_every_s: Annotated[int, Field(ge=5, le=86400)] = 60
    images_quota_bytes: Count | None = None
    log_bytes_per_container: Annotated[int, Field(ge=16 * 1024, le=1 << 30)] = 1 << 20


class DesiredState(Document):
    """The payload of the envelope on a device's `desired` topic."""

    limit_bytes: ClassVar[int] = bounds.MAX_DESIRED_BYTES

    schema_: Literal["roadstead/desired/v1"] = Field("roadstead/desired/v1", alias="schema")
    device_id: DeviceId
    generation: Annotated[int, Field(ge=1, le=bounds.MAX_INTEGER)]
    issued_at: UnixTime
    expires: UnixTime
    apps: Annotated[tuple[DesiredApp, ...], Field(max_length=bounds.MAX_APPS_PER_DEVICE)] = ()
    settings: Settings = Settings()

    @model_validator(mode="after")
    def _each_app_once(self) -> Self:
        names = [a.app for a in self.apps]
        if len(set(names)) != len(names):
            raise ValueError("an app is listed twice")
        return self
