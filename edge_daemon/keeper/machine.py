"""The host as the keeper's loop sees it: the runtime, and the command lines of the processes that it starts."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from edge_daemon.keeper.ports import Runtime
from edge_daemon.keeper.runtime.host import HostRuntime
from edge_daemon.layout import Layout

PLATFORMS = {
    "x86_64": "linux/amd64", "aarch64": "linux/arm64", "armv7l": "linux/arm/v7", "armv6l": "linux/arm/v6",
    "i686": "linux/386", "riscv64": "linux/riscv64",
}  # fmt: skip


class Machine(Protocol):
    """Real: `HostMachine`."""

    @property
    def runtime(self) -> Runtime:
        """What is quick enough to be called in the loop."""

    def start(self, app: str, service: str, revision: str, seal: str, log_bytes: int) -> list[str]:
        """The command that starts one container and says `{"pid": n}`."""

    def retune(self, app: str, service: str, revision: str, seal: str) -> list[str]:
        """The command that gives a running container another revision's limits and says `{"pid": n}`."""

    def remove(self, app: str, service: str) -> list[str]:
        """The command that removes one container and says `{"removed": true}`."""

    def probe(self, app: str, service: str, revision: str, seal: str, kind: str) -> list[str]:
        """The command that runs the command of a probe (or readiness) in its container and says `{"probe": {...}}`."""

    def hand_over(self, app: str, service: str) -> list[str]:
        """The command that leads an app's published ports to the slot of this service and says `{"handed": true}`."""

    def hook(self, app: str, service: str, revision: str, name: str) -> list[str]:
        """The command that runs a hook (`veto`, `pre-stop`) in its container and says `{"hook": {...}}`."""

    def prune(self, apps: set[str]) -> list[str]:
        """The command that takes down what belongs to no app of `apps`."""

    def settle(self) -> list[str]:
        """The command that gives back the idle pages of this process."""

    def prepare(self, document: str, keep: set[tuple[str, str]], running: dict[str, str]) -> list[str]:
        """The command that makes a document ready to run."""

    def check(self) -> list[str]:
        """The command that looks for withdrawals."""

    def renew(self) -> list[str]:
        """The command that renews the certificate if it has grown old."""

    def facts(self) -> dict[str, object]:
        """What this host is, for the report."""

    def version_command(self) -> list[str]:
        """The command whose first line of output names the runtime and its version."""


class HostMachine:
    """The host that this process runs on."""

    def __init__(self, layout: Layout, cgroup_parent: str, runtime: str) -> None:
        self._layout = layout
        self._host = HostRuntime(layout, cgroup_parent, runtime or "auto")
        self.runtime: Runtime = self._host

    def start(self, app: str, service: str, revision: str, seal: str, log_bytes: int) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("start", app, service, revision, seal, str(log_bytes))

    def retune(self, app: str, service: str, revision: str, seal: str) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("retune", app, service, revision, seal)

    def remove(self, app: str, service: str) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("remove", app, service)

    def probe(self, app: str, service: str, revision: str, seal: str, kind: str) -> list[str]:
        """Through the starter."""
        return self._host.starter_command(kind, app, service, revision, seal)

    def hand_over(self, app: str, service: str) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("hand-over", app, service)

    def hook(self, app: str, service: str, revision: str, name: str) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("hook", app, service, revision, name)

    def prune(self, apps: set[str]) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("prune", *sorted(apps))

    def settle(self) -> list[str]:
        """Through the starter."""
        return self._host.starter_command("settle", str(os.getpid()))

    def prepare(self, document: str, keep: set[tuple[str, str]], running: dict[str, str]) -> list[str]:
        """The real one-shot, in its own groups."""
        command = self._prepare("--document", document)
        if keep:
            command += ["--keep", *(f"{app}/{revision}" for app, revision in sorted(keep))]
        if running:
            command += ["--running", *(f"{app}/{revision}" for app, revision in sorted(running.items()))]
        return command

    def check(self) -> list[str]:
        """The one-shot again, for metadata alone."""
        return self._prepare("--check")

    def renew(self) -> list[str]:
        """As a person would."""
        return [sys.executable, "-I", "-m", "edge_daemon.main", "renew", "--state-dir", str(self._layout.state)]

    def _prepare(self, *words: str) -> list[str]:
        command = [
            sys.executable, "-I", "-m", "edge_daemon.prepare",
            "--state-dir", str(self._layout.state), "--run-dir", str(self._layout.run),
            "--cgroup-parent", self._host.cgroup_parent, *words,
        ]  # fmt: skip
        for mount in self._host.hierarchies.mounts():
            group = f"{mount}{self._host.cgroup_parent}/prepare"
            if os.path.isdir(group):
                command += ["--cgroup", group]
        return command

    def facts(self) -> dict[str, object]:
        """From the kernel and the runtime."""
        system = os.uname()
        return {
            "arch": system.machine,
            "platform": PLATFORMS.get(system.machine, f"linux/{system.machine}"),
            "kernel": system.release,
            "cgroup": self._host.hierarchies.version,
            "runtime": self._host.chosen.kind,
        }

    def version_command(self) -> list[str]:
        """Of runc or crun."""
        return [self._host.chosen.path, "--version"]
