"""The real keeper, prepare, runtime, broker and kernel; only the server is simulated, with real signatures."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from keeper_broker import Broker
from keeper_server import Server
from keeper_support import KeeperProcess
from oci_support import busybox_image
from prepare_support import DEVICE, MIB, Site, site
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

    def app(self, app: str, command: str = "sleep 1000", version: str = "1.0.0") -> dict[str, Any]:
        service = self.site.service(self.image, command=[command], stop_grace_s=1)
        return self.site.release(service, app=app, version=version)

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
        for group in ("daemon", "prepare", "apps", ""):
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


@pytest.fixture
def edge() -> Iterator[Edge]:
    with edge_host() as made:
        yield made


def test_a_signed_release_runs_under_limits_and_survives_the_keeper_the_broker_and_a_reboot(edge: Edge) -> None:
    edge.online()
    cam, blog = edge.app("cam"), edge.app("blog")
    edge.apply(cam, blog)
    before = edge.runs("cam", "blog")
    report = edge.server.last
    assert report is not None
    limits = report.apps[0].services[0].limits
    assert (limits.memory_bytes, limits.swap_bytes, limits.cpu_millis, limits.pids) == (32 * MIB, 0, 500, 16)
    assert str(report.host["runtime_version"]).startswith(str(report.host["runtime"]))

    # another release of one app leaves the other alone
    edge.apply(cam, edge.app("blog", "sleep 1001", "1.1.0"))
    after = edge.runs("cam", "blog")
    assert after["cam/web"] == before["cam/web"]
    assert after["blog/web"] != before["blog/web"]

    # broker dead, keeper killed: adopted
    edge.broker.stop(signal.SIGKILL)
    edge.keeper.kill()
    edge.keeper.start()
    edge.server.until_closed(lambda: edge.keeper.pids() == after)

    # a crash is seen, told with its code, and mended off-line
    os.kill(after["cam/web"], signal.SIGKILL)
    edge.server.until_closed(lambda: edge.keeper.pids().get("cam/web", after["cam/web"]) != after["cam/web"])

    # a reboot without any network
    edge.keeper.kill()
    edge.reboot()
    edge.keeper.start()
    edge.server.until_closed(lambda: set(edge.keeper.pids()) == {"cam/web", "blog/web"})

    edge.broker.start()
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0, seconds=30)
    assert edge.server.gaps() == []
    (crash,) = [text for text in edge.server.stored.values() if text.startswith("container.exited")]
    assert "cam/web was ended by signal 9" in crash
    assert (edge.site.layout.logs / "cam" / "web").is_dir()


def test_a_forged_document_and_one_for_another_device_are_refused_and_what_runs_goes_on(edge: Edge) -> None:
    edge.online()
    cam = edge.app("cam")
    edge.apply(cam)
    before = edge.runs("cam")
    genuine = edge.site.document(cam).read_bytes()

    edge.server.publish(genuine.replace(b'"payload":"', b'"payload":"AAAA'))
    report = edge.server.reported(lambda r: r.refusal, seconds=30)
    assert report.refusal is not None
    assert "no trusted key signed it" in report.refusal.sentence
    edge.server.publish(edge.site.document(cam, device_id="another").read_bytes())
    edge.server.reported(lambda r: r.refusal and "another" in r.refusal.sentence, seconds=30)

    assert edge.keeper.pids() == before
    assert not list(Path(edge.site.layout.generations).glob("2"))
