"""What operators ask of rollouts, and read of pins and quarantine: bodies of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from fleet_protocol.documents.base import DeviceId, Document, Name, OpenDocument, Seconds, Text, UnixTime, Version
from fleet_protocol.documents.rollout import WaveName

Act = Literal[
    "start", "pause", "resume", "promote", "abort", "revert", "retry-failed", "skip-device", "force-device", "hold",
    "unhold",
]  # fmt: skip


class VerbRequest(Document):
    """POST /v1/rollouts/{id}/verbs. `device_id` for what is of one device."""

    act: Act
    device_id: DeviceId | Literal[""] = ""
    reason: Text = ""


class ApprovalRequest(Document):
    """POST /v1/rollouts/{id}/approve and /deny. `wave` "": the one that waits."""

    wave: WaveName | Literal[""] = ""
    reason: Text = ""


class PinRequest(Document):
    """POST /v1/devices/{id}/pins. `version`: refused unless it is what the device was told. `for_s` 0: for good."""

    app: Name
    version: Version | None = None
    for_s: Seconds = 0
    reason: Text = ""


class PinView(OpenDocument):
    """An app that stays as it is on a device. `until` None: until it is unpinned."""

    device_id: DeviceId
    app: Name
    release: Annotated[str, StringConstraints(max_length=64)]
    by: Text
    since: UnixTime
    until: UnixTime | None = None
    reason: Text = ""


class LiftRequest(Document):
    """POST /v1/quarantine/{app}/{release}/lift."""

    reason: Text = ""


class QuarantineView(OpenDocument):
    """A release that nobody gets, and why. `release`: a version, or one with the mark of a configuration."""

    app: Name
    release: Text
    since: UnixTime
    rollout_id: Text
    reason: Text = ""
