"""Rows of lists, pages, and the messages of the one stream that a screen lives on (docs/api.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from fleet_protocol.documents.base import Count, DeviceId, Document, Labels, Name, OpenDocument, Text, UnixTime

DeviceState = Literal["ok", "updating", "degraded", "failed", "held", "quiet", "OVERDUE", "unknown"]
Version_ = Annotated[str, Field(max_length=80)]


class DeviceRow(OpenDocument):
    """One device as lists show it. Times are Unix seconds of the server's clock."""

    device_id: DeviceId
    labels: Labels = {}
    fleets: tuple[Name, ...] = ()
    state: DeviceState
    why: Text = ""
    code: Text = ""  # of the cause, the same for all devices that have it
    app: Text = ""  # `app@version` that the cause is about
    since: UnixTime | None = None  # when the cause was first seen
    online: bool = False
    last_seen: UnixTime | None = None
    due_at: UnixTime | None = None  # silent beyond this, it is OVERDUE
    generation: Count = 0
    desired_generation: Count = 0
    preparing: Text = ""
    apps: dict[Name, Version_] = {}  # what runs
    memory_bytes: Count | None = None
    memory_limit_bytes: Count | None = None
    cpu_percent: Annotated[float, Field(ge=0)] | None = None  # of one core, between the last two reports
    pids: Count | None = None
    restarts: Count = 0
    oom_kills: Count = 0
    platform: Text = ""
    certificate_expires: UnixTime | None = None


class Page(OpenDocument):
    """Every list: one page of it. `next` is the cursor of the following page; without it this is the last one."""

    api_version: Literal["roadstead/v1"] = Field("roadstead/v1", alias="apiVersion")
    kind: Text
    items: tuple[dict[str, Any], ...]
    next: Text | None = None
    total: Count | None = None  # of all that match, where that is known without reading them all


class WindowRequest(Document):
    """PUT /v1/streams/{stream_id}/window: which rows the screen shows from now on."""

    where: Annotated[str, Field(max_length=500)] = ""
    sort: Annotated[str, Field(max_length=300)] = ""
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    count: Annotated[int, Field(ge=0, le=500)] = 50
    marked: Annotated[tuple[DeviceId, ...], Field(max_length=500)] = ()


class Hello(OpenDocument):
    """`hello`, first of all: who speaks, and the name under which the window can be changed."""

    api_version: Literal["roadstead/v1"] = Field("roadstead/v1", alias="apiVersion")
    stream: Text
    server_version: Text
    at: UnixTime
    resumed: bool  # false: forget what was known, all of it comes anew


class Counters(OpenDocument):
    """`counters`, once a second: how many devices are in which state."""

    at: UnixTime
    devices: Count
    online: Count
    states: dict[DeviceState, Count]


class Attention(OpenDocument):
    """All devices with one cause."""

    state: DeviceState
    code: Text
    app: Text = ""
    why: Text  # the example's
    devices: Count
    example: DeviceId
    label: Text = ""  # `site=lyon`: the label that most of them share, the rarest in the fleet if several
    label_devices: Count = 0
    since: UnixTime | None = None


class Causes(OpenDocument):
    """`causes`, when they change: what needs attention, worst first. `more` were left out."""

    causes: tuple[Attention, ...]
    devices: Count
    more: Count = 0


class FleetLine(OpenDocument):
    """One fleet in numbers."""

    name: Name
    devices: Count
    ok: Count  # or quiet, which is how sleeping devices are well
    running: dict[Text, Count]  # `app@version` -> devices


class Fleets(OpenDocument):
    """`fleets`, when they change."""

    fleets: tuple[FleetLine, ...]


class WindowRows(OpenDocument):
    """`window`: `order` names the rows from `offset` on; it is left out when it is as before. `rows` are those of them
    that changed since the message before, or all of them when `full`. `marked`: the same of marked rows elsewhere."""

    full: bool
    offset: Count
    matching: Count
    order: tuple[DeviceId, ...] | None = None
    rows: tuple[DeviceRow, ...] = ()
    marked: tuple[DeviceRow, ...] = ()
