"""What a device says: reported state, events, presence. Unsigned (mutual TLS and the topic say who speaks)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from fleet_protocol.documents.base import Count, DeviceId, Name, OpenDocument, Sha256, Text, UnixTime, Version
from fleet_protocol.wire import bounds

ServiceState = Literal[
    "waiting", "starting", "running", "backoff", "crash-loop", "stopping", "stopped", "completed", "failed"
]
Health = Literal["healthy", "unhealthy", "starting", "none"]  # after its probe; none: it has none, or does not run
AppState = Literal["ok", "updating", "degraded", "failed", "held", "stopped"]


class Refusal(OpenDocument):
    """A RoadsteadError as data (`RoadsteadError.as_dict`)."""

    code: Text
    sentence: Annotated[str, Field(max_length=600)]
    retry: bool = False
    generation: Count | None = None
    at: UnixTime = 0


class KernelLimits(OpenDocument):
    """Limits as read back from the kernel's cgroup files; None: absent there or unlimited."""

    memory_bytes: int | None = None
    swap_bytes: int | None = None  # swap alone, beyond memory; 0 = off
    cpu_millis: int | None = None
    pids: int | None = None


class ReportedService(OpenDocument):
    """One container."""

    name: Name
    state: ServiceState
    pid: Count | None = None
    started_at: UnixTime | None = None
    restarts: Count = 0
    exit_code: int | None = None
    oom_kills: Count = 0
    image: Text = ""
    limits: KernelLimits = KernelLimits()
    memory_bytes: Count | None = None
    memory_peak_bytes: Count | None = None
    memory_anon_bytes: Count | None = None  # without the page cache
    cpu_usec: Count | None = None
    throttled_usec: Count | None = None  # it wanted to run and had used up its share
    cpu_stalled_usec: Count | None = None  # pressure, where the kernel counts it: something in it waited, in all
    memory_stalled_usec: Count | None = None
    io_stalled_usec: Count | None = None
    io_read_bytes: Count | None = None
    io_write_bytes: Count | None = None
    net_rx_bytes: Count | None = None
    net_tx_bytes: Count | None = None
    pids: Count | None = None
    sampled_at: UnixTime | None = None  # when the numbers above were read
    health: Health = "none"
    ready: bool | None = None  # after a readiness of its own; None: it has none, or does not run
    why: Text = ""  # of a health that is not good, or of what is not ready


class Figures(OpenDocument):
    """What an app uses of what it may; of several services the worst. None: not known, never 0."""

    memory_percent: Count | None = None  # of the limit: anonymous memory, the middle of the samples
    memory_peak_percent: Count | None = None  # the most at once, page cache included
    memory_slope_percent_per_h: int | None = None  # growth of the anonymous memory; negative: it shrinks
    cpu_throttled_percent: Count | None = None  # of the time
    pids_percent: Count | None = None
    restarts_per_h: Annotated[float, Field(ge=0)] | None = None


VerdictState = Literal["trial", "good", "inconclusive", "bad", "failed", "held"]


class Verdict(OpenDocument):
    """How the desired revision of an app stands on this host, by the host's own judgement."""

    state: VerdictState
    code: Annotated[str, Field(pattern=r"^[a-z-]{0,24}$")] = ""  # of bad, failed, inconclusive: oom, leak, restarts ...
    reason: Text = ""  # the first of it; `why` of the app says all
    revision: Sha256 | None = None  # that is judged; where the app went back, another one runs
    window_s: Count | None = None
    restarts: Count | None = None
    oom_kills: Count | None = None
    exits: Count | None = None  # ends that nobody asked for
    failed_probes: Count | None = None  # times that a probe made a container unhealthy
    now: Figures | None = None
    before: Figures | None = None  # of the last good before it


class ReportedApp(OpenDocument):
    """One app; `release` is what runs, which after a return to last good differs from what is desired."""

    app: Name
    state: AppState
    why: Text = ""
    release: Version | None = None
    revision: Sha256 | None = None
    desired_release: Version | None = None
    limits: KernelLimits | None = None  # of all its containers together, where the release has a total
    services: Annotated[tuple[ReportedService, ...], Field(max_length=bounds.MAX_SERVICES)] = ()
    verdict: Verdict | None = None  # None: nothing of it can be run, or it was not looked at yet


class Reported(OpenDocument):
    """The device's state as a whole, on `reported`."""

    limit_bytes: ClassVar[int] = bounds.MAX_REPORTED_BYTES

    schema_: Literal["roadstead/reported/v1"] = Field("roadstead/reported/v1", alias="schema")
    device_id: DeviceId
    boot_id: Text
    at: UnixTime
    daemon_version: Text = ""
    generation: Count = 0  # accepted; 0: none yet
    sha256: Sha256 | None = None  # of the accepted payload
    running_generation: Count = 0
    preparing: Text = ""  # phase of a prepare under way, as words
    apps: Annotated[tuple[ReportedApp, ...], Field(max_length=bounds.MAX_APPS_PER_DEVICE)] = ()
    refusal: Refusal | None = None  # of the newest document, until another is accepted
    host: Annotated[dict[str, Any], Field(max_length=64)] = {}


class Event(OpenDocument):
    """One thing that happened, spooled on the device until the server has it."""

    seq: Annotated[int, Field(ge=1, le=bounds.MAX_INTEGER)]
    at: UnixTime
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,47}$")]
    severity: Literal["info", "warn", "error"] = "info"
    app: Name | None = None
    service: Name | None = None
    text: Annotated[str, Field(max_length=600)]


class Events(OpenDocument):
    """One message on `events`: ascending sequence numbers of one spool."""

    limit_bytes: ClassVar[int] = bounds.MAX_EVENTS_BYTES

    schema_: Literal["roadstead/events/v1"] = Field("roadstead/events/v1", alias="schema")
    device_id: DeviceId
    spool: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]  # made anew with keeper.db; numbers count within it
    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=bounds.MAX_EVENTS_PER_MESSAGE)]


class Ack(OpenDocument):
    """On `acks`: the server has stored every event of `spool` up to and including `through`, without a gap."""

    limit_bytes: ClassVar[int] = bounds.MAX_ACK_BYTES

    spool: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    through: Count


class Presence(OpenDocument):
    """On `presence`, retained; the last will says online: false."""

    limit_bytes: ClassVar[int] = 1024

    online: bool
    boot_id: Text = ""
    generation: Count = 0
    sha256: Sha256 | None = None
