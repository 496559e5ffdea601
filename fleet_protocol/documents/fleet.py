"""Fleets, plans and what operators read: bodies of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import (
    ConfigKeyName,
    Count,
    DeviceId,
    Document,
    LabelKey,
    Labels,
    LabelValue,
    Name,
    OpenDocument,
    Sha256,
    Text,
    UnixTime,
    Version,
)
from fleet_protocol.documents.desired import Settings
from fleet_protocol.documents.device import Event, Refusal, Reported
from fleet_protocol.documents.rollout import Cause, CauseGroup, RolloutSpec, WaveName


class AppAt(Document):
    """`cam@1.9.0`."""

    app: Name
    version: Version


class FleetSpec(Document):
    """fleet.yaml, compiled.

    An empty selector selects nothing unless `select_all` is true. `contact` is carried as written; `rollout` is
    compiled, with the maintenance windows.
    """

    limit_bytes: ClassVar[int] = 256 * 1024

    schema_: Literal["roadstead/fleet/v1"] = Field("roadstead/fleet/v1", alias="schema")
    name: Name
    select: dict[LabelKey, LabelValue] = {}
    select_all: bool = False
    run: Annotated[tuple[AppAt, ...], Field(max_length=32)]
    config: dict[Name, dict[ConfigKeyName, Annotated[str, StringConstraints(max_length=64 * 1024)]]] = {}
    settings: Settings = Settings()
    contact: dict[str, Any] = {}
    rollout: RolloutSpec = RolloutSpec()


class PlanRequest(Document):
    """POST /v1/plan and the body of a saved plan's origin. Only the named fleets change; others stay as they are."""

    limit_bytes: ClassVar[int] = 4 * 1024 * 1024

    fleets: Annotated[tuple[FleetSpec, ...], Field(min_length=1, max_length=100)]
    remove: tuple[Name, ...] = ()


class AppChange(OpenDocument):
    """One app on one device: before -> after; None: not there."""

    app: Name
    before: Version | None = None
    after: Version | None = None
    config_changed: bool = False
    download_bytes: Count = 0
    disk_bytes: Count = 0  # unpacked


class DevicePlan(OpenDocument):
    """What changes on one device."""

    device_id: DeviceId
    generation: Count  # the one it has; applying makes the next
    changes: tuple[AppChange, ...]


class PlannedWave(OpenDocument):
    """One wave, as it would be if it began now."""

    name: WaveName
    devices: Count
    names: tuple[DeviceId, ...] = ()


class Blocked(OpenDocument):
    """A device that would have to wait for something of its own, and why."""

    device_id: DeviceId
    cause: Cause


class PlannedRollout(OpenDocument):
    """One rollout that applying the plan would begin, or (`joins`) take more devices into."""

    rollout_id: Text
    joins: bool = False
    fleet: Name
    app: Name
    version: Version
    before: tuple[Version, ...] = ()  # what most of its devices run, at most three
    devices: Count
    download_bytes: Count = 0
    disk_bytes: Count = 0
    waves: tuple[PlannedWave, ...] = ()
    window: Text = ""
    expected_s: Count | None = None  # None: it waits for people, or for a window
    causes: tuple[CauseGroup, ...] = ()
    blocked: Annotated[tuple[Blocked, ...], Field(max_length=1000)] = ()


class Plan(OpenDocument):
    """Answer of POST /v1/plan. `world` is a hash of everything that the plan was computed from."""

    limit_bytes: ClassVar[int] = 64 * 1024 * 1024

    schema_: Literal["roadstead/plan/v1"] = Field("roadstead/plan/v1", alias="schema")
    request: PlanRequest
    world: Sha256
    devices: tuple[DevicePlan, ...]
    unchanged: Count
    refusals: tuple[Refusal, ...] = ()  # not empty: the plan cannot be applied
    rollouts: tuple[PlannedRollout, ...] = ()  # how it would reach them, as far as that is known before


class Applied(OpenDocument):
    """Answer of POST /v1/apply. `generations`: of the devices that were told something in the same moment."""

    devices: Count
    generations: dict[DeviceId, Count]
    rollouts: tuple[Text, ...] = ()  # that began, or took devices in


class DeviceView(OpenDocument):
    """GET /v1/devices, GET /v1/devices/{id}."""

    device_id: DeviceId
    labels: Labels
    state: Literal["ok", "updating", "degraded", "failed", "held", "quiet", "OVERDUE", "unknown"]
    why: Text
    online: bool
    last_seen: UnixTime | None = None
    enrolled_at: UnixTime
    fingerprint: Sha256
    certificate_expires: UnixTime
    desired_generation: Count
    desired_sha256: Sha256 | None = None
    fleets: tuple[Name, ...] = ()
    reported: Reported | None = None
    events: tuple[Event, ...] = ()  # newest first; only in describe


class OnlineKeys(OpenDocument):
    """GET /v1/online-keys: public keys (PEM) of what the server signs with; a trust root is made over them."""

    director: str
    time: str
    snapshot: str
    timestamp: str


class RoleVersion(OpenDocument):
    """Answer of PUT /v1/tuf/metadata/{role}."""

    role: str
    version: Count
    snapshot_version: Count
