"""The runtime that the keeper holds: quick and small. What blocks lives in `lifecycle`, loaded by the starter.

`start`, `remove` and `prune` load it when called, so that tests and tools can use one object; the keeper spawns
`starter_command` instead.
"""

from __future__ import annotations

import os
import sys
import time

from edge_daemon.keeper.ports import EnforcedLimits, Seen, StartSpec, Usage
from edge_daemon.keeper.runtime import choose, groups, hierarchies, isolation, processes, readings, records
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.layout import Layout
from edge_daemon.sealed import LimitValues

SETTLING_SECONDS = 1.0  # conmon writes the exit code some 20 ms after the end
RUN_FOLDERS = ("containers", "netns", "runtime", "locks")


class HostRuntime:
    """conmon with runc or crun on this host; implements `edge_daemon.keeper.ports.Runtime`."""

    def __init__(self, layout: Layout, cgroup_parent: str, runtime: str = choose.AUTO) -> None:
        self.layout = layout
        self.cgroup_parent = "/" + cgroup_parent.strip("/")
        self.hierarchies = hierarchies.detect()
        self.chosen = choose.choose(runtime, self.hierarchies)
        self._boot = processes.boot_id()
        self._ending: dict[str, float] = {}  # container -> when it was first seen dead without an exit code

    # -- what containers stand on

    def setup(self) -> None:
        """Make cgroup parents, directories and the isolation table; forget what an earlier boot left. Idempotent."""
        run = str(self.layout.run)
        os.makedirs(run, 0o711, exist_ok=True)
        os.chmod(run, 0o711)  # noqa: S103 - the shifted users of containers must reach their root file system
        self._forget_other_boots()
        for name in RUN_FOLDERS:
            os.makedirs(f"{run}/{name}", 0o711, exist_ok=True)
            os.chmod(f"{run}/{name}", 0o711 if name == "containers" else 0o700)
        groups.make(self.hierarchies, self.cgroup_parent, leaf=False)
        for name, leaf in (("daemon", True), ("prepare", True), ("apps", False), ("monitors", False)):
            groups.make(self.hierarchies, f"{self.cgroup_parent}/{name}", leaf=leaf)
        try:
            with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
                file.write("1")
        except OSError as error:
            raise RuntimeFailedError(f"IPv4 forwarding could not be switched on: {error.strerror}") from error
        with isolation.Networks(self.layout) as networks:
            networks.replace_table()

    def _forget_other_boots(self) -> None:
        path, now = f"{self.layout.run}/boot_id", self._boot
        try:
            with open(path, encoding="ascii") as file:
                before = file.read().strip()
        except FileNotFoundError:
            before = now  # a new run directory
        if before != now:
            from edge_daemon.keeper.runtime import leftovers

            leftovers.clear(str(self.layout.run), RUN_FOLDERS)
        records.write_new(path, now.encode())

    # -- looking

    def seen(self) -> list[Seen]:
        """Every container of ours on this host, running or ended and not yet removed."""
        out: list[Seen] = []
        now, ending = time.monotonic(), dict[str, float]()
        for name in self._names():
            folder = f"{self.layout.containers}/{name}"
            meta = records.read_meta(folder)
            if meta is None or meta["boot_id"] != self._boot:
                continue
            found, settling = records.look(folder, meta, self.hierarchies, self.group(meta["app"], meta["service"]))
            if settling:
                ending[name] = self._ending.get(name, now)
                if now - ending[name] < SETTLING_SECONDS:
                    found = found._replace(pid=meta["pid"])  # its end is not written down yet: look again
            out.append(found)
        self._ending = ending
        return out

    def usage(self, app: str, service: str) -> Usage:
        """Use of one container, from the kernel."""
        read = readings.usage(self.hierarchies, self.group(app, service))
        meta = self._meta(app, service)
        if meta is None or not meta["pid"] or not os.path.exists(f"{self.layout.netns}/{app}.{service}"):
            return read  # the host's own network is nobody's use
        received, sent = readings.network(readings.Files(f"/proc/{meta['pid']}/net", v2=True).text("dev"))
        return read._replace(net_rx_bytes=received, net_tx_bytes=sent)

    def limits(self, app: str, service: str) -> EnforcedLimits:
        """Limits of one container, read back from the kernel."""
        return readings.limits(self.hierarchies, self.group(app, service))

    def total(self, app: str) -> EnforcedLimits:
        """Limits of all containers of an app together, read back from the kernel."""
        return readings.limits(self.hierarchies, f"{self.cgroup_parent}/apps/{app}")

    def end_handle(self, app: str, service: str) -> int | None:
        """Readable when the container has ended and its exit code is written down; also if its monitor was killed.

        It is the monitor's pidfd, which ends last. Where the monitor is gone, it is the container's own.
        """
        meta = self._meta(app, service)
        if meta is None:
            return None
        conmon = processes.handle(meta["conmon_pid"], meta["conmon_ticks"])
        return conmon if conmon is not None else processes.handle(meta["pid"], meta["start_ticks"])

    # -- acting at once

    def signal(self, app: str, service: str, name: str) -> None:
        """Send a signal to the container's first process. No error if it is gone."""
        number = processes.signal_number(name)
        if number is None:
            raise RuntimeFailedError(f"{name} is not a signal", element=f"{app}/{service}")
        if (meta := self._meta(app, service)) is not None:
            processes.send(meta["pid"], meta["start_ticks"], number)

    def update_limits(self, app: str, service: str, limits: LimitValues) -> None:
        """Apply limits to the running container; its pid stays."""
        groups.apply(self.hierarchies, self.group(app, service), limits)

    # -- acting in a child process

    def start(self, spec: StartSpec) -> int:
        """Check the seal, make everything, create and start. Returns the pid. Blocks: see `starter_command`."""
        from edge_daemon.keeper.runtime import lifecycle

        return lifecycle.start(lifecycle.Host(self.layout, self.cgroup_parent, self.chosen, self.hierarchies), spec)

    def retune(self, spec: StartSpec) -> int:
        """Give a running container the limits and the name of another revision; its pid. See `starter_command`."""
        from edge_daemon.keeper.runtime import lifecycle

        return lifecycle.retune(lifecycle.Host(self.layout, self.cgroup_parent, self.chosen, self.hierarchies), spec)

    def remove(self, app: str, service: str) -> None:
        """Kill what is left and take down everything. Idempotent. Blocks: see `starter_command`."""
        from edge_daemon.keeper.runtime import lifecycle

        host = lifecycle.Host(self.layout, self.cgroup_parent, self.chosen, self.hierarchies)
        lifecycle.remove(host, app, service)

    def hand_over(self, app: str, service: str) -> None:
        """Lead an app's published ports to the containers in the slot of this service, in one step."""
        with isolation.Networks(self.layout) as networks:
            networks.hand_over(app, service)

    def prune(self, apps: set[str]) -> None:
        """Take down bridges and empty cgroups of apps not in `apps`. Quick, but meant for the child process, too."""
        from edge_daemon.keeper.runtime import leftovers

        leftovers.prune(self.layout, self.hierarchies, self.cgroup_parent, apps)

    def starter_command(self, verb: str, *words: str) -> list[str]:
        """The command line of the child process; `edge_daemon.keeper.starter` lists verbs and words."""
        return starter_command(self.layout, self.cgroup_parent, self.chosen.path, [verb, *words])

    # -- names

    def group(self, app: str, service: str) -> str:
        """The cgroup of one container."""
        return f"{self.cgroup_parent}/apps/{app}/{service}"

    def _meta(self, app: str, service: str) -> records.Meta | None:
        meta = records.read_meta(str(self.layout.container(app, service)))
        return meta if meta is not None and meta["boot_id"] == self._boot else None

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.layout.containers))
        except FileNotFoundError:
            return []


def starter_command(layout: Layout, cgroup_parent: str, runtime: str, words: list[str]) -> list[str]:
    """The command line of the child process: the verb and its words, for a host that need not be looked at first."""
    return [
        sys.executable, "-I", "-OO", "-m", "edge_daemon.keeper.starter", words[0],
        "--state-dir", str(layout.state), "--run-dir", str(layout.run),
        "--cgroup-parent", cgroup_parent, "--runtime", runtime, *words[1:],
    ]  # fmt: skip
