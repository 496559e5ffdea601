"""What planning looks at and what comes of it: values alone. `fleet_server.plan` makes one of the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet_protocol.documents.desired import DesiredApp, Settings
from fleet_protocol.documents.fleet import FleetSpec, Plan, PlanRequest
from fleet_protocol.documents.release import Release
from fleet_protocol.wire import strict_json

DEFAULT_SETTINGS = Settings()
AppId = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """One release that its app's role lists."""

    release: Release
    sha256: str
    min_counter: int = 0
    withdrawn: str | None = None  # the reason, "" included; None: it is not


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One device, and what it was last told to run."""

    device_id: str
    labels: Mapping[str, str]
    generation: int = 0
    sha256: str | None = None
    apps: tuple[DesiredApp, ...] = ()
    settings: Settings = DEFAULT_SETTINGS
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """The newest rollout of one app of one fleet. `live`: it is not over for its devices; `open`: it takes devices in;
    `left_out`: members that may be brought the same by another one."""

    rollout_id: str
    version: str
    config: Mapping[str, str]
    live: bool
    open: bool
    members: frozenset[str]
    left_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a plan depends on, besides the change itself. `quarantined`: (app, release or release with the
    mark of a configuration) -> why."""

    fleets: Mapping[str, FleetSpec]
    devices: tuple[DeviceFacts, ...]
    releases: Mapping[AppId, ReleaseFacts]
    begun: Mapping[tuple[str, str], Begun] = field(default_factory=dict)
    quarantined: Mapping[AppId, str] = field(default_factory=dict)
    rollouts: int = 0  # that there ever were


@dataclass(frozen=True, slots=True)
class Intended:
    """What one device shall run."""

    apps: tuple[DesiredApp, ...]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Brings:
    """One rollout to be: a release of an app, with a fleet's configuration, to these devices. `same_version`: they have
    it, with another configuration. `joins`: a rollout that brings the same is under way, and takes them in."""

    fleet: FleetSpec
    facts: ReleaseFacts
    devices: tuple[str, ...]
    before: tuple[str, ...]
    same_version: bool
    joins: str = ""


@dataclass(frozen=True, slots=True)
class Computed:
    """The plan for people, and what applying it would sign, begin and keep. `intended`: where a device that changes
    comes to in the end; `at_once`: what it is told now, without what goes, and with its settings."""

    plan: Plan
    fleets: Mapping[str, FleetSpec]
    intended: Mapping[str, Intended]
    at_once: Mapping[str, Intended]
    removed: Mapping[str, tuple[str, ...]]  # device -> its apps that go
    brings: tuple[Brings, ...]
    values: Mapping[str, bytes]


def unusable(facts: ReleaseFacts) -> str | None:
    """Why a release that is listed may not be run; None: it may."""
    if facts.withdrawn is not None:
        return "was withdrawn by its signers" + (f": {facts.withdrawn}" if facts.withdrawn else "")
    if facts.release.release_counter < facts.min_counter:
        return f"has counter {facts.release.release_counter}, below the security floor {facts.min_counter} of its app"
    return None


def world_hash(world: World, request: PlanRequest) -> str:
    """SHA-256 over all that decides the plan."""
    digest = hashlib.sha256(request.to_bytes())
    for name in sorted(world.fleets):
        digest.update(world.fleets[name].to_bytes())
    for (app, version), facts in sorted(world.releases.items()):
        digest.update(strict_json.dumps([app, version, facts.sha256, facts.min_counter, facts.withdrawn]))
    # Generations are compared where a device changes; the others may be moved by rollouts meanwhile.
    for d in sorted(world.devices, key=lambda d: d.device_id):
        digest.update(strict_json.dumps([d.device_id, dict(d.labels), d.platform]))
    digest.update(strict_json.dumps([world.rollouts, sorted([*k, v] for k, v in world.quarantined.items())]))
    return digest.hexdigest()
