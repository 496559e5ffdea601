"""MQTT topics, one set for each device; nothing is shared by devices.

`roadstead/v1/devices/{device_id}/{channel}`
"""

from __future__ import annotations

from enum import StrEnum

from fleet_protocol.wire.bounds import ID_PATTERN, matches

PREFIX = "roadstead/v1/devices"


class Channel(StrEnum):
    """What flows on a topic, and which way."""

    DESIRED = "desired"  # server -> device, retained, one DSSE envelope
    REPORTED = "reported"  # device -> server, state as a whole
    EVENTS = "events"  # device -> server, must keep
    ACKS = "acks"  # server -> device, through which event it has
    SAMPLES = "samples"  # device -> server, lossy
    PRESENCE = "presence"  # device -> server, retained, last will
    REQUESTS = "requests"  # server -> device
    RESPONSES = "responses"  # device -> server


TO_DEVICE = (Channel.DESIRED, Channel.ACKS, Channel.REQUESTS)
FROM_DEVICE = (Channel.REPORTED, Channel.EVENTS, Channel.SAMPLES, Channel.PRESENCE, Channel.RESPONSES)


def topic(device_id: str, channel: Channel) -> str:
    """The topic of one device's channel. Raises ValueError if the identifier could be anything but one level."""
    if not matches(ID_PATTERN, device_id):
        raise ValueError(f"not a device identifier: {device_id!r}")
    return f"{PREFIX}/{device_id}/{channel.value}"


def parse_topic(text: str) -> tuple[str, Channel] | None:
    """(device_id, channel), or None for a topic that is not ours."""
    parts = text.split("/")
    if len(parts) != 5 or "/".join(parts[:3]) != PREFIX or not matches(ID_PATTERN, parts[3]):
        return None
    try:
        return parts[3], Channel(parts[4])
    except ValueError:
        return None
