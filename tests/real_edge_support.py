"""One edge host with the real keeper, prepare, runtime, broker and kernel; only the server is simulated, with real
signatures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keeper_broker import Broker
from keeper_server import Server
from keeper_support import KeeperProcess
from oci_support import busybox_image
from prepare_support import DEVICE, Site, site
from runtime_support import wait_for

from edge_daemon.keeper.runtime import groups, namespaces
from edge_daemon.keeper.runtime.host import HostRuntime
from fleet_protocol.trust.keys import FileSigner


class Edge:
    """One host in a network namespace of its own, with what it talks to."""

    def __init__(self, made: Site) -> None:
        self.site = made
        folder = made.base / "broker"
        folder.mkdir()
        self.broker = Broker(folder, DEVICE)
        both = made.layout.ca.read_text() + (folder / "ca.pem").read_text()
        made.layout.device_key.unlink()
        self.broker.enrol(made.layout, made.server.url)
        made.layout.device_key.chmod(0o600)
        made.layout.ca.write_text(both)
        made.server.device_key = FileSigner(made.layout.device_key).public
        self.server = Server(self.broker)
        words = ["--state-dir", str(made.layout.state), "--run-dir", str(made.layout.run)]
        words += ["--cgroup-parent", made.cgroup_parent]
        self.keeper = KeeperProcess(made.layout, [sys.executable, "-m", "edge_daemon.keeper", *words])
        self.image = busybox_image({"Entrypoint": ["/bin/sh", "-c"]})

    def online(self) -> None:
        self.broker.start()
        self.server.connect()
        self.keeper.start()

    def app(self, app: str, command: str = "sleep 1000", version: str = "1.0.0", **over: Any) -> dict[str, Any]:
        service = self.site.service(self.image, command=[command], stop_grace_s=1)
        return self.site.release(service, app=app, version=version, **over)

    def apply(self, *apps: dict[str, Any]) -> None:
        self.server.publish(self.site.document(*apps).read_bytes())

    def runs(self, *names: str, seconds: float = 40) -> dict[str, int]:
        """Wait until exactly these services run; their pids."""
        wanted = {f"{name}/web" for name in names}
        self.server.reported(
            lambda r: (
                r.generation == self.site.generation
                and {f"{a.app}/{s.name}" for a in r.apps for s in a.services if s.state == "running"} == wanted
            ),
            seconds=seconds,
        )
        return self.keeper.pids()

    def reboot(self) -> None:
        """What a reboot ends, while the keeper is dead: containers, monitors, mounts, the run directory."""
        runtime = HostRuntime(self.site.layout, self.site.cgroup_parent)
        for one in runtime.seen():
            runtime.remove(one.app, one.service)
        runtime.prune(set())
        shutil.rmtree(self.site.layout.run)

    def close(self) -> None:
        self.keeper.kill()
        runtime = HostRuntime(self.site.layout, self.site.cgroup_parent)
        wait_for(lambda: self._removed(runtime), 20, "the containers to be removed")
        self.server.close()
        self.broker.stop()
        for group in ("daemon", "prepare", "apps", "monitors", ""):
            groups.remove(runtime.hierarchies, f"{self.site.cgroup_parent}/{group}".rstrip("/"))

    def _removed(self, runtime: HostRuntime) -> bool:
        for one in runtime.seen():
            runtime.remove(one.app, one.service)
        runtime.prune(set())
        return not runtime.seen()


@contextmanager
def edge_host() -> Iterator[Edge]:
    with namespaces.inside(None):
        namespaces.set_up("lo", up=True)
        with site() as made:
            edge = Edge(made)
            try:
                yield edge
            finally:
                edge.close()
