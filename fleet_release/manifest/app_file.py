"""app.yaml: what compose files do not say. Name, version, limits, probes, grants, configuration, platforms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from fleet_protocol.documents.base import ConfigKeyName, Name, Version
from fleet_release.manifest.fields import (
    Cpus,
    DurationSeconds,
    Part,
    PlatformName,
    ServiceName,
    Size,
    Texts,
    as_text,
)
from fleet_release.values import parse_percent


class AppLimits(Part):
    """Limits of one service; what is left out comes from the compose file, then from `defaults`."""

    memory: Size | None = None
    memory_high: Size | None = None
    cpus: Cpus | None = None
    cpu_weight: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cpuset: str | None = None
    pids: Annotated[int, Field(ge=1, le=65536)] | None = None
    nofile: Annotated[int, Field(ge=16, le=1 << 20)] | None = None
    io_read: Size | None = None
    io_write: Size | None = None
    io_read_iops: Annotated[int, Field(ge=1, le=(1 << 32) - 1)] | None = None
    io_write_iops: Annotated[int, Field(ge=1, le=(1 << 32) - 1)] | None = None

    def values(self) -> dict[str, Any]:
        """Only what was said, in the fields of a release's limits."""
        names = {
            "memory": "memory_bytes",
            "memory_high": "memory_high_bytes",
            "cpus": "cpu_millis",
            "io_read": "io_read_bps",
            "io_write": "io_write_bps",
        }
        said = {k: getattr(self, k) for k in type(self).model_fields}
        return {names.get(k, k): v for k, v in said.items() if v is not None}


class AppTotal(Part):
    """Limits of all containers of the app together, beside their own."""

    memory: Size | None = None
    cpus: Cpus | None = None
    pids: Annotated[int, Field(ge=1, le=65536)] | None = None

    def values(self) -> dict[str, int]:
        """Only what was said, in the fields of a release's total."""
        said = {"memory_bytes": self.memory, "cpu_millis": self.cpus, "pids": self.pids}
        return {field: value for field, value in said.items() if value is not None}


class AppVolume(Part):
    """One named volume of the compose file."""

    quota: Size


class Defaults(Part):
    """For every service that neither the compose file nor `limits` says more about."""

    memory: Size | None = None
    cpus: Cpus | None = None
    pids: Annotated[int, Field(ge=1, le=65536)] | None = None
    read_only: bool | None = None
    cap_drop: Annotated[list[Literal["ALL"]], Field(max_length=1)] | None = None


def _address(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = f":{value}"
    return as_text(value, "wants :PORT")


class AppProbe(Part):
    """How a service shows that it is well: exactly one of http, tcp and exec."""

    http: Annotated[str, StringConstraints(pattern=r"^:[0-9]{1,5}(/[ -~]*)?$")] | None = None
    tcp: (
        Annotated[
            str,
            BeforeValidator(_address),
            StringConstraints(pattern=r"^:[0-9]{1,5}$"),
            WithJsonSchema({"type": ["string", "integer"]}),
        ]
        | None
    ) = None
    exec: Texts | None = None
    every: DurationSeconds | None = None
    timeout: DurationSeconds | None = None
    start_period: DurationSeconds | None = None
    failures: Annotated[int, Field(ge=1, le=100)] | None = None
    healthy_for: DurationSeconds | None = None

    def values(self) -> dict[str, Any]:
        """In the fields of a release's probe."""
        out: dict[str, Any] = {}
        if self.http is not None:
            port, slash, path = self.http[1:].partition("/")
            out |= {"http_port": int(port), "http_path": f"{slash}{path}" or "/"}
        if self.tcp is not None:
            out["tcp_port"] = int(self.tcp[1:])
        if self.exec is not None:
            out["exec_args"] = list(self.exec)
        for name, field in (
            ("every", "every_s"),
            ("timeout", "timeout_s"),
            ("start_period", "start_period_s"),
            ("healthy_for", "healthy_for_s"),
            ("failures", "failures"),
        ):
            if (value := getattr(self, name)) is not None:
                out[field] = value
        return out


class AppHook(Part):
    """A command in the container, bounded in time."""

    exec: Texts
    timeout: DurationSeconds | None = None

    def values(self) -> dict[str, Any]:
        """In the fields of a release's hook."""
        out: dict[str, Any] = {"exec_args": list(self.exec)}
        return out | ({"timeout_s": self.timeout} if self.timeout is not None else {})


class AppVeto(AppHook):
    """Exit code 75 says "not now", and its first line of output why."""

    expires: DurationSeconds | None = None

    def values(self) -> dict[str, Any]:
        """In the fields of a release's veto."""
        return super().values() | ({"expires_s": self.expires} if self.expires is not None else {})


class AppHooks(Part):
    """What one service has run around its start and stop."""

    veto: AppVeto | None = None
    pre_stop: AppHook | None = None
    post_start: AppHook | None = None

    def values(self) -> dict[str, Any]:
        """Only those that were said, in the fields of a release's hooks."""
        hooks = {"veto": self.veto, "pre_stop": self.pre_stop, "post_start": self.post_start}
        return {name: hook.values() for name, hook in hooks.items() if hook is not None}


class ArchOverride(Part):
    """What differs on one platform."""

    image: str


class Grant(Part):
    """One relaxation of the default profile, with the reason that an operator reads."""

    service: ServiceName
    capabilities: list[Annotated[str, StringConstraints(pattern=r"^(CAP_)?[A-Z_]{2,30}$")]] = []
    devices: list[Annotated[str, StringConstraints(pattern=r"^/dev/[A-Za-z0-9_/-]{1,60}$")]] = []
    network: Literal["host"] | None = None
    writable_root: bool = False
    reason: Annotated[str, StringConstraints(min_length=3, max_length=200)]


class AppConfigKey(Part):
    """One value that a fleet or a device may set."""

    service: ServiceName
    type: Literal["string", "integer", "boolean", "text"] = "string"
    pattern: Annotated[str, StringConstraints(max_length=200)] | None = None
    max: Size | None = None
    to: Annotated[str, StringConstraints(pattern=r"^(env|/.*)$")]
    default: Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})] | None = None
    secret: bool = False


def _slope(value: Any) -> Any:
    text = as_text(value, "wants a slope such as 10%/h")
    if not text.endswith("/h"):
        raise ValueError(f'"{text}" is not a slope such as 10%/h')
    return round(parse_percent(text.removesuffix("/h")))


class AppHealth(Part):
    """The window in which a new revision proves itself."""

    window: DurationSeconds | None = None
    restarts: Annotated[int, Field(ge=0, le=1000)] | None = None
    memory_slope: (
        Annotated[int, BeforeValidator(_slope), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+%/h$"})] | None
    ) = None


class AppFile(Part):
    """An app of Roadstead: a compose file, and what an edge host needs to know beyond it."""

    api_version: Literal["roadstead/v1"]
    kind: Literal["App"]
    name: Name
    version: Version
    compose: Texts = ["./compose.yaml"]
    platforms: list[PlatformName] | None = None
    images: dict[str, str] = {}
    defaults: Defaults = Defaults()
    limits: dict[str, AppLimits] = {}
    maximum: dict[str, AppLimits] = {}
    total: AppTotal = AppTotal()
    volumes: dict[str, AppVolume] = {}
    probes: dict[str, AppProbe] = {}
    hooks: dict[str, AppHooks] = {}
    readiness: dict[str, AppProbe] = {}
    arch: dict[str, dict[str, ArchOverride]] = {}
    grants: list[Grant] = []
    config: dict[ConfigKeyName, AppConfigKey] = {}
    health: AppHealth = AppHealth()
    group: Annotated[list[Name], Field(max_length=8)] = []
    strategy: Literal["recreate", "start-first"] = "recreate"
    shared_volumes: Annotated[list[Name], Field(max_length=32)] = []
