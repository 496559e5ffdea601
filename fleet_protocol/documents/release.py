"""A release: one immutable, signed TUF target of an app, `releases/<app>/<version>.json`.

The OCI configuration that runs is generated from this alone; the image adds entrypoint, command, variables, user and
working directory where the release leaves them open.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fleet_protocol.documents.base import (
    AbsolutePath,
    ConfigKeyName,
    Count,
    Digest,
    Document,
    EnvName,
    Name,
    Platform,
    Seconds,
    Text,
    Version,
)
from fleet_protocol.documents.hooks import Hooks
from fleet_protocol.wire import bounds

Port = Annotated[int, Field(ge=1, le=65535)]
Argument = Annotated[str, StringConstraints(max_length=4096)]
EnvValue = Annotated[str, StringConstraints(max_length=8192)]
KIB, MIB = 1024, 1024 * 1024


class Image(Document):
    """One platform's image. `manifest` is the digest of the platform manifest, never of an index."""

    manifest: Digest
    manifest_size: Annotated[int, Field(gt=0, le=bounds.MAX_MANIFEST_BYTES)]
    download_bytes: Count  # config + layers as transferred
    unpacked_bytes: Count  # sum of the layers' file bytes; the unpacker stops above it
    source: Text = ""  # what the engineer wrote, for people


class Limits(Document):
    """Hard limits of one container. All are always present."""

    memory_bytes: Annotated[int, Field(ge=4 * MIB, le=bounds.MAX_INTEGER)]
    memory_high_bytes: Annotated[int, Field(ge=MIB, le=bounds.MAX_INTEGER)] | None = None
    cpu_millis: Annotated[int, Field(ge=10, le=1024_000)]  # 1000 = one core
    cpu_weight: Annotated[int, Field(ge=1, le=10_000)] = 100
    cpuset: Annotated[str, StringConstraints(pattern=r"^[0-9,-]{1,64}$")] | None = None
    pids: Annotated[int, Field(ge=1, le=65536)]
    nofile: Annotated[int, Field(ge=16, le=1 << 20)] = 1024
    io_read_bps: Count | None = None
    io_write_bps: Count | None = None
    io_read_iops: Annotated[int, Field(ge=1, le=(1 << 32) - 1)] | None = None  # operations a second; the kernel's bound
    io_write_iops: Annotated[int, Field(ge=1, le=(1 << 32) - 1)] | None = None


class Total(Document):
    """Hard limits of all containers of the app together, beside their own. What is not said is not limited."""

    memory_bytes: Annotated[int, Field(ge=4 * MIB, le=bounds.MAX_INTEGER)] | None = None
    cpu_millis: Annotated[int, Field(ge=10, le=1024_000)] | None = None
    pids: Annotated[int, Field(ge=1, le=65536)] | None = None


class Probe(Document):
    """Exactly one of http, tcp and exec."""

    http_port: Port | None = None
    http_path: Annotated[str, StringConstraints(pattern=r"^/[ -~]{0,254}$")] = "/"
    tcp_port: Port | None = None
    exec_args: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=64)] | None = None
    every_s: Annotated[int, Field(ge=1, le=3600)] = 10
    timeout_s: Annotated[int, Field(ge=1, le=60)] = 3
    start_period_s: Annotated[int, Field(ge=0, le=3600)] = 0
    failures: Annotated[int, Field(ge=1, le=100)] = 3
    healthy_for_s: Annotated[int, Field(ge=0, le=86400)] = 0

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(x is not None for x in (self.http_port, self.tcp_port, self.exec_args)) != 1:
            raise ValueError("a probe has exactly one of http, tcp and exec")
        return self


class PublishedPort(Document):
    """`host_ip:host_port` of the edge host leads to `container_port`."""

    host_ip: Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]{0,45}$")] = ""  # empty: all addresses
    host_port: Port
    container_port: Port
    protocol: Literal["tcp", "udp"] = "tcp"


class Volume(Document):
    """A named volume of the app, kept over releases."""

    name: Name
    target: AbsolutePath
    read_only: bool = False
    quota_bytes: Annotated[int, Field(ge=4 * MIB, le=bounds.MAX_INTEGER)] = 64 * MIB  # what it takes on the host's disk


class Tmpfs(Document):
    """Memory-backed and sized; it counts against the container's memory."""

    target: AbsolutePath
    size_bytes: Annotated[int, Field(ge=4096, le=bounds.MAX_INTEGER)] = 16 * MIB


class Privileges(Document):
    """What a service has beyond the default profile. The host's own policy must allow each of them too."""

    capabilities: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^CAP_[A-Z_]{2,30}$")], ...], Field(max_length=41)
    ] = ()
    devices: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^/dev/[A-Za-z0-9_/-]{1,60}$")], ...], Field(max_length=16)
    ] = ()
    network: Literal["app", "host", "none"] = "app"
    writable_root: bool = False
    reason: Text = ""


class Restart(Document):
    """When a container that ended is started again."""

    policy: Literal["always", "on-failure", "no"] = "always"
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None


class Service(Document):
    """One container of the app."""

    name: Name
    images: Annotated[dict[Platform, Image], Field(min_length=1, max_length=8)]
    entrypoint: Annotated[tuple[Argument, ...], Field(max_length=64)] | None = None  # None: the image's
    command: Annotated[tuple[Argument, ...], Field(max_length=256)] | None = None
    environment: Annotated[dict[EnvName, EnvValue], Field(max_length=128)] = {}
    user: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,5}(:[0-9]{1,5})?$")] | None = None
    working_dir: AbsolutePath | None = None
    hostname: Name | None = None
    aliases: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    depends_on: dict[Name, Literal["started", "healthy", "completed"]] = {}
    restart: Restart = Restart()
    limits: Limits
    maximum: Limits | None = None  # how far a later limit change may go without a new release; None: not at all
    ports: Annotated[tuple[PublishedPort, ...], Field(max_length=32)] = ()
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32)] = ()
    tmpfs: Annotated[tuple[Tmpfs, ...], Field(max_length=16)] = ()
    shm_bytes: Annotated[int, Field(ge=0, le=1 << 40)] = 8 * MIB
    probe: Probe | None = None  # whether it lives: a container that does not is started again
    readiness: Probe | None = None  # whether others may rely on it; None: while it lives
    privileges: Privileges = Privileges()
    stop_signal: Annotated[str, StringConstraints(pattern=r"^SIG[A-Z0-9+]{2,10}$")] = "SIGTERM"
    stop_grace_s: Annotated[int, Field(ge=0, le=600)] = 10
    init: bool = False
    hooks: Hooks | None = None

    @model_validator(mode="after")
    def _time_to_stop(self) -> Self:
        before = self.hooks.pre_stop if self.hooks is not None else None
        if before is not None and before.timeout_s >= self.stop_grace_s:
            raise ValueError(
                f"preStop may take {before.timeout_s} s of the {self.stop_grace_s} s of grace before it is killed: "
                "leave time for the stop signal"
            )
        return self


class ConfigKey(Document):
    """One value that a fleet or a device may set, and where it goes. Nothing else can be set from outside."""

    service: Name
    type: Literal["string", "integer", "boolean", "text"] = "string"
    pattern: Annotated[str, StringConstraints(max_length=200)] | None = None  # full match
    max_bytes: Annotated[int, Field(ge=1, le=bounds.MAX_VALUE_BYTES)] = 1024
    env: EnvName | None = None
    file: AbsolutePath | None = None
    default: Annotated[str, StringConstraints(max_length=4096)] | None = None  # None: unset when nobody sets it
    secret: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("a configuration key goes to exactly one of env and file")
        if self.env is not None and bounds.FORBIDDEN_ENV.fullmatch(self.env):
            raise ValueError(f"{self.env} steers a loader or an interpreter and cannot be configuration")
        return self


class Health(Document):
    """The window in which a new revision proves itself."""

    window_s: Seconds = 60
    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 0
    memory_slope_percent_per_h: Annotated[int, Field(ge=0, le=10_000)] | None = None


class Release(Document):
    """The content of the TUF target."""

    limit_bytes: ClassVar[int] = bounds.MAX_RELEASE_BYTES

    schema_: Literal["roadstead/release/v1"] = Field("roadstead/release/v1", alias="schema")
    app: Name
    version: Version
    release_counter: Annotated[int, Field(ge=1, le=bounds.MAX_INTEGER)]
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=bounds.MAX_SERVICES)]
    config: Annotated[dict[ConfigKeyName, ConfigKey], Field(max_length=bounds.MAX_CONFIG_KEYS)] = {}
    health: Health = Health()
    total: Total | None = None
    group: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    strategy: Literal["recreate", "start-first"] = "recreate"
    shared_volumes: Annotated[tuple[Name, ...], Field(max_length=32)] = ()  # two revisions may write them at once

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        names = [s.name for s in self.services]
        if len(set(names)) != len(names):
            raise ValueError("a service is listed twice")
        for service in self.services:
            for other in service.depends_on:
                if other not in names or other == service.name:
                    raise ValueError(f"{service.name} depends on {other}, which is not another service of this app")
            _check_reach(service)
        for key, declared in self.config.items():
            if declared.service not in names:
                raise ValueError(
                    f"configuration key {key} goes to {declared.service}, which is not a service of this app"
                )
        quotas: dict[str, int] = {}
        for volume in (v for service in self.services for v in service.volumes):
            if quotas.setdefault(volume.name, volume.quota_bytes) != volume.quota_bytes:
                raise ValueError(f"the volume {volume.name} has two quotas")
        _within(self.services, self.total)
        if self.strategy == "start-first" and (why := _not_side_by_side(self)):
            raise ValueError(f"start-first runs two revisions at once, and {why}")
        _start_order(self.services)
        return self

    def start_order(self) -> tuple[str, ...]:
        """Service names, dependencies first, otherwise as listed."""
        return _start_order(self.services)


def _within(services: tuple[Service, ...], total: Total | None) -> None:
    """No service has more than the whole: kernels with cgroup v1 refuse such processor limits."""
    for field in Total.model_fields if total is not None else ():
        most = getattr(total, field)
        for service in services:
            if most is not None and (own := getattr(service.limits, field)) > most:
                raise ValueError(f"{service.name} has {field} {own}, more than the app's total of {most}")


def _check_reach(service: Service) -> None:
    """A service without a network can be asked by a command alone."""
    if service.privileges.network != "none":
        return
    for what, probe in (("probe", service.probe), ("readiness", service.readiness)):
        if probe is not None and probe.exec_args is None:
            raise ValueError(f"{service.name} has no network over which its {what} could ask it: use exec")


def _not_side_by_side(release: Release) -> str:
    """Why two revisions of it cannot run at once, or ""."""
    if release.total is not None:
        return "`total` limits both together: leave it out"
    for service in release.services:
        if service.privileges.network == "host":
            return f"{service.name} binds its ports in the host's own network, where each is there once"
        if any(port.protocol == "udp" for port in service.ports):
            return f"{service.name} publishes a UDP port, whose senders would stay with the earlier one"
        for volume in service.volumes:
            if not volume.read_only and volume.name not in release.shared_volumes:
                writes = f"{service.name} writes the volume {volume.name}"
                return f"{writes}: name it in `sharedVolumes` if it bears two writers"
    return ""


def _start_order(services: tuple[Service, ...]) -> tuple[str, ...]:
    waiting = {s.name: set(s.depends_on) for s in services}
    order: list[str] = []
    while waiting:
        ready = [n for n, needs in waiting.items() if not needs - set(order)]
        if not ready:
            raise ValueError(f"depends_on goes in a circle: {', '.join(waiting)}")
        order += ready
        waiting = {n: needs for n, needs in waiting.items() if n not in ready}
    return tuple(order)


def target_path(app: str, version: str) -> str:
    """The TUF target path of a release."""
    return f"releases/{app}/{version}.json"


def role_name(app: str) -> str:
    """The TUF delegation that signs an app's releases."""
    return f"release/{app}"


class Withdrawal(Document):
    """One release that shall not be used any more."""

    version: Version
    effect: Literal["refuse", "stop"]
    reason: Text = ""


class RoleExtra(Document):
    """The field `roadstead` in the signed part of a `release/<app>` role."""

    min_counter: Count = 0
    last_counter: Count = 0
    withdrawals: Annotated[tuple[Withdrawal, ...], Field(max_length=200)] = ()


ROLE_EXTRA_FIELD = "roadstead"
