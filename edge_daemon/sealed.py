"""What prepare seals and the keeper runs. Plain JSON, typed here; standard library only.

A revision directory is immutable once sealed:

    revisions/<app>/<revision>/
        revision.json            Revision
        services/<service>/config.json   OCI runtime configuration, complete but for nothing: all paths are absolute
        services/<service>/hosts          the generated /etc/hosts
        services/<service>/files/<n>      configuration values that go to files
    generations/<n>/index.json   Index: the one commit point of a generation

<revision> is the SHA-256 (hex) of the canonical JSON of everything that decides what runs: release target hash,
configuration values, platform, host parameters (uid base, addresses). The seal of a revision is the SHA-256 of
revision.json's bytes; revision.json lists the SHA-256 of every other file. The index carries the seals, the keeper
copies them into keeper.db, and checks them at each start of a container.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

REVISION_SCHEMA = "roadstead/revision/v1"
INDEX_SCHEMA = "roadstead/generation/v1"
UID_BASE_DEFAULT = 1_000_000  # first id of the shifted range; 65536 ids


class Identity(TypedDict):
    """identity/identity.json, written by enrolment."""

    device_id: str
    server_url: str  # https://host:port
    broker_host: str
    broker_port: int


class LimitValues(TypedDict):
    """As in fleet_protocol.documents.release.Limits."""

    memory_bytes: int
    memory_high_bytes: NotRequired[int]
    cpu_millis: int
    cpu_weight: int
    cpuset: NotRequired[str]
    pids: int
    nofile: int
    io_read_bps: NotRequired[int]
    io_write_bps: NotRequired[int]
    io_read_iops: NotRequired[int]
    io_write_iops: NotRequired[int]


class TotalValues(TypedDict):
    """As in fleet_protocol.documents.release.Total: what is not there is not limited."""

    memory_bytes: NotRequired[int]
    cpu_millis: NotRequired[int]
    pids: NotRequired[int]


class PortMapping(TypedDict):
    """One published port."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str


class VolumeMount(TypedDict):
    """A named volume; the keeper makes `volumes/<app>/<name>` before the first start."""

    name: str
    target: str
    read_only: bool
    quota_bytes: NotRequired[int]  # its size; absent: none


class ProbeValues(TypedDict):
    """As in fleet_protocol.documents.release.Probe; exactly one of the three kinds."""

    http_port: NotRequired[int]
    http_path: str
    tcp_port: NotRequired[int]
    exec_args: NotRequired[list[str]]
    every_s: int
    timeout_s: int
    start_period_s: int
    failures: int
    healthy_for_s: int


class HookValues(TypedDict):
    """As in fleet_protocol.documents.hooks; `expires_s` of a veto alone."""

    exec_args: list[str]
    timeout_s: int
    expires_s: NotRequired[int]


class SealedHooks(TypedDict):
    """Of one service: those that it has."""

    veto: NotRequired[HookValues]
    pre_stop: NotRequired[HookValues]
    post_start: NotRequired[HookValues]


class SealedService(TypedDict):
    """One container, everything the keeper needs beside config.json."""

    name: str
    image: str  # manifest digest, for reports
    layers: list[str]  # hex diff IDs, bottom first; directories below images/layers
    network: str  # app | host | none
    address: str  # IPv4 in the app's bridge network, e.g. 10.88.3.2; "" for host and none
    ports: list[PortMapping]
    volumes: list[VolumeMount]
    depends_on: dict[str, str]  # service -> started | healthy | completed
    restart_policy: str  # always | on-failure | no
    restart_max: NotRequired[int]
    stop_signal: str
    stop_grace_s: int
    limits: LimitValues
    probe: NotRequired[ProbeValues]
    hooks: NotRequired[SealedHooks]
    readiness: NotRequired[ProbeValues]  # beside the probe, which then says only whether it lives
    runtime_sha256: NotRequired[str]  # of config.json without what the keeper can change while the container runs


class Revision(TypedDict):
    """revision.json."""

    schema: str
    app: str
    release: str
    release_sha256: str
    revision: str
    subnet: str  # e.g. 10.88.3.0/24; the bridge is the first host address
    start_order: list[str]
    services: list[SealedService]
    health_window_s: int
    max_restarts: int
    total: NotRequired[TotalValues]
    memory_slope_percent_per_h: NotRequired[int]  # of each service's memory limit; above it the trial fails
    group: list[str]
    strategy: NotRequired[str]  # start-first: it is up before the earlier revision is stopped, in another slot
    files: dict[str, str]  # relative path -> SHA-256 hex, every file but revision.json


class IndexedApp(TypedDict):
    """One app of a generation."""

    revision: str
    seal: str  # SHA-256 hex of revision.json
    release: str


class Index(TypedDict):
    """generations/<n>/index.json."""

    schema: str
    generation: int
    sha256: str  # of the desired state's payload
    apps: dict[str, IndexedApp]
    settings: dict[str, int]
