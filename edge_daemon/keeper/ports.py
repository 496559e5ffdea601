"""What the keeper's loop asks of the host: the runtime as an interface, and the values that cross it.

The loop decides; `edge_daemon.keeper.runtime` does. A container is named (app, service). Every call returns at once or
within the stated bound; what takes longer is a child process whose end the loop sees through its selector.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from edge_daemon.sealed import LimitValues, Revision, SealedService


class Seen(NamedTuple):
    """One container as found on the host just now."""

    app: str
    service: str
    revision: str  # as recorded when it was created
    pid: int | None  # None: not running
    started_at: float | None  # CLOCK_REALTIME seconds when it was started, for people
    start_ticks: int | None  # field 22 of /proc/PID/stat: with the pid, its identity
    exit_code: int | None  # None while running, or when nobody could tell (conmon was killed)
    ended_at: float | None
    oom_killed: bool  # with a pid: the kernel killed a part of it and left the rest running, as cgroup v1 does
    seal: str = ""  # of the revision, as recorded when it was created


class Usage(NamedTuple):
    """Read from the container's cgroup; None where the kernel has no such number."""

    memory_bytes: int | None
    memory_peak_bytes: int | None
    cpu_usec: int | None
    throttled_usec: int | None
    pids: int | None
    oom_kills: int | None
    cpu_stalled_usec: int | None = None  # pressure: how long something in it waited for a processor, in all
    memory_stalled_usec: int | None = None  # ... for memory to be reclaimed
    io_stalled_usec: int | None = None  # ... for a disk
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net_rx_bytes: int | None = None  # of its own network namespace
    net_tx_bytes: int | None = None
    memory_anon_bytes: int | None = None  # anonymous memory alone: the page cache, which comes and goes, is not in it


class EnforcedLimits(NamedTuple):
    """Limits read back from the kernel; None: no such file, or unlimited."""

    memory_bytes: int | None
    swap_bytes: int | None  # swap alone; 0 = off
    cpu_millis: int | None
    pids: int | None


class StartSpec(NamedTuple):
    """Everything needed to start one container of a sealed revision."""

    app: str
    service: SealedService
    revision: Revision
    seal: str  # SHA-256 hex that revision.json must have
    log_bytes: int


class Runtime(Protocol):
    """Real: conmon + runc or crun. All errors are RuntimeFailedError (a RoadsteadError) with one sentence."""

    def setup(self) -> None:
        """Make what containers stand on (cgroup parents, directories, bridge isolation). Idempotent."""

    def seen(self) -> list[Seen]:
        """Every container of ours on this host, running or ended and not yet removed. Adoption is this."""

    def start(self, spec: StartSpec) -> int:
        """Check the seal, make namespace, network, mounts and cgroup, create and start. Returns the pid.

        Runs in a child process of the keeper (`edge_daemon.keeper.starter`), so that it may block for up to 30 s.
        """

    def retune(self, spec: StartSpec) -> int:
        """Give a running container the limits and the name of another revision; its pid, which stays.

        Lowering memory may block: runs in a child process.
        """

    def signal(self, app: str, service: str, name: str) -> None:
        """Send a signal (SIGTERM ...) to the container's first process. No error if it is gone."""

    def remove(self, app: str, service: str) -> None:
        """Kill what is left and take down container, mounts, network and namespace.

        Idempotent. May block: runs in a child process.
        """

    def usage(self, app: str, service: str) -> Usage:
        """What the container uses now."""

    def limits(self, app: str, service: str) -> EnforcedLimits:
        """What the kernel enforces now."""

    def total(self, app: str) -> EnforcedLimits:
        """What the kernel enforces now for all containers of an app together."""

    def update_limits(self, app: str, service: str, limits: LimitValues) -> None:
        """Apply limits to the running container; its pid stays."""

    def end_handle(self, app: str, service: str) -> int | None:
        """A file descriptor that becomes readable when the container ends (pidfd), or None. The caller closes it."""

    def prune(self, apps: set[str]) -> None:
        """Take down bridges, networks and empty cgroups of apps not in `apps`."""
