"""What one rollout brings: a release of an app with a fleet's configuration of it. Pure.

A device's app has a mark: its release and a hash of all that the device was told of it. A rollout's `target` is one
text for all of its devices, although their configuration may differ by their labels: what a device runs is the target
when its mark is that of what the rollout wants there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from fleet_protocol.documents.base import ConfigKeyName, Count, Document, Name, Sha256, Version
from fleet_protocol.documents.desired import DesiredApp
from fleet_protocol.documents.rollout import RolloutSpec

MARKED = "~"  # stands in no version
SORTED = json.JSONEncoder(sort_keys=True)


class Change(Document):
    """Stored with the rollout when it is made, and never changed."""

    limit_bytes: ClassVar[int] = 512 * 1024

    fleet: Name
    app: Name
    version: Version
    sha256: Sha256
    config: dict[ConfigKeyName, Annotated[str, StringConstraints(max_length=64 * 1024)]] = {}
    target: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    before: tuple[Version, ...] = ()  # what most devices ran, at most three
    window_s: Count = 60  # in which the release proves itself on a device
    spec: RolloutSpec


def mark(app: DesiredApp) -> str:
    """Release and everything else that a device was told of the app."""
    return mark_of(json.loads(app.model_dump_json()))


def mark_of(app: Mapping[str, object]) -> str:
    """The same of JSON values."""
    said = SORTED.encode([app["sha256"], app.get("config") or {}])
    return f"{app['release']}{MARKED}{hashlib.blake2b(said.encode(), digest_size=6).hexdigest()}"


def target_of(version: str, config: Mapping[str, str], *, same_version: bool) -> str:
    """What a rollout brings, as one text; `same_version`: the configuration alone is new."""
    return config_target(version, config) if same_version else version


def config_target(version: str, config: Mapping[str, str]) -> str:
    """Version and the fleet's configuration."""
    return f"{version}{MARKED}{fingerprint(config)}"


def fingerprint(config: Mapping[str, str]) -> str:
    """Of a fleet's configuration of an app, as written."""
    return hashlib.blake2b(SORTED.encode(dict(config)).encode(), digest_size=6).hexdigest()


def version_of(text: str) -> str:
    """The release that people read in a mark or target."""
    return text.partition(MARKED)[0]


def rollout_name(world: str, fleet: str, app: str) -> str:
    """`r-7F3KQ`: made from what is planned, so that a plan can name what it will begin."""
    digest = hashlib.blake2b(f"{world}/{fleet}/{app}".encode(), digest_size=5).digest()
    number = int.from_bytes(digest, "big")
    return "r-" + "".join(LETTERS[number >> (5 * i) & 31] for i in range(5))


LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without those that are taken for others
