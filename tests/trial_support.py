"""Revisions on trial on a real host: sealed by hand, run by the real keeper and runtime, with no server in reach."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from keeper_broker import DEVICE
from keeper_support import KeeperProcess
from runtime_support import LIMITS, MIB, World, wait_for, world

from edge_daemon.layout import Layout
from edge_daemon.sealed import INDEX_SCHEMA, IndexedApp, PortMapping, ProbeValues, SealedHooks
from edge_daemon.slots import B, unit

WEB = "web"
SLEEPS = ["/bin/sleep", "1000"]
CRASHES = ["/bin/sh", "-c", "exit 7"]
ENDS_SOON = ["/bin/sh", "-c", "sleep 3; exit 3"]
EATS = ["/bin/sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"]


class TrialHost:
    """One host and its keeper. `deliver` is what prepare leaves behind."""

    def __init__(self, made: World) -> None:
        self.world = made
        self.layout: Layout = made.layout
        self.generation = 0
        enrol(made.layout)
        words = ["--state-dir", str(made.layout.state), "--run-dir", str(made.layout.run)]
        words += ["--cgroup-parent", made.cgroup_parent, "--runtime", made.runtime.chosen.path]
        self.keeper = KeeperProcess(made.layout, [sys.executable, "-m", "edge_daemon.keeper", *words])

    def revision(
        self,
        app: str,
        release: str,
        args: list[str],
        *,
        window_s: int = 2,
        number: int = 3,
        hooks: SealedHooks | None = None,
        slot: str = "",
        probe: ProbeValues | None = None,
        ports: list[PortMapping] | None = None,
        grace_s: int = 1,
        asked: dict[str, Any] | None = None,
        **more: Any,
    ) -> IndexedApp:
        """Seal a release whose one service `web` runs `args`; its volume `data` is at /data.

        `asked`: its probes, `more`: of the revision.
        """
        service, config = self.world.service(
            app,
            unit(WEB, slot),
            args,
            address=f"10.88.{number}.{130 if slot == B else 2}",
            ports=ports,
            volumes=[{"name": "data", "target": "/data", "read_only": False}],
            limits=LIMITS | {"memory_bytes": 32 * MIB},
        )
        service["restart_policy"], service["stop_grace_s"] = "always", grace_s
        if probe is not None:
            service["probe"] = probe
        if hooks is not None:
            service["hooks"] = hooks
        service.update(asked or {})  # type: ignore[typeddict-item]
        spec = self.world.seal(app, [service], {service["name"]: config}, f"10.88.{number}.0/24")[service["name"]]
        revision = spec.revision["revision"]
        path = self.layout.revision(app, revision) / "revision.json"
        sealed = json.loads(path.read_bytes()) | {"release": release, "health_window_s": window_s} | more
        sealed |= {"strategy": "start-first"} if slot else {}
        data = json.dumps(sealed).encode()
        path.write_bytes(data)
        return {"revision": revision, "seal": hashlib.sha256(data).hexdigest(), "release": release}

    def deliver(self, **apps: IndexedApp) -> None:
        """The next generation; the keeper finds it when it starts anew."""
        self.generation += 1
        folder = self.layout.generations / str(self.generation)
        folder.mkdir(parents=True)
        index = {
            "schema": INDEX_SCHEMA, "generation": self.generation, "sha256": f"{self.generation:064x}", "apps": apps,
            "settings": {},
        }  # fmt: skip
        (folder / "index.json").write_text(json.dumps(index))
        self.keeper.kill()
        self.keeper.start()

    def app(self, name: str) -> dict[str, Any]:
        """As reported just now."""
        apps = self.keeper.ask(ask="status")["report"]["apps"]
        return next((app for app in apps if app["app"] == name), {})

    def until(self, name: str, true: Callable[[dict[str, Any]], object], seconds: float = 20.0) -> dict[str, Any]:
        """Wait until an app is so; what it then is."""
        wait_for(lambda: bool(true(self.app(name))), seconds, f"{name}: {self.app(name)}\n{self.events()}")
        return self.app(name)

    def good(self, name: str, release: str) -> dict[str, Any]:
        """Wait until a release is the app's last good."""
        return self.until(name, lambda app: app.get("state") == "ok" and app.get("release") == release)

    def events(self, *kinds: str) -> list[str]:
        """What happened, in order."""
        told = self.keeper.ask(ask="events", count=1000)["events"]
        return [f"{e['kind']} {e['text']}" for e in told if not kinds or e["kind"] in kinds]

    def started(self, name: str) -> list[str]:
        """Every start of a container of the app."""
        return [event for event in self.events("container.started") if f" {name}/" in event]

    def identity(self, name: str, service: str = WEB) -> tuple[int, int]:
        """PID and start time of its container."""
        one = self.world.seen(name, service)
        assert one.pid is not None
        assert one.start_ticks is not None
        return one.pid, one.start_ticks

    def reboot(self) -> None:
        """What a power cut leaves: no container, and notes of an earlier boot."""
        self.keeper.kill()
        for one in self.world.runtime.seen():
            self.world.runtime.remove(one.app, one.service)
        notes = sqlite3.connect(self.layout.keeper_db)
        with notes:
            notes.execute("UPDATE trials SET boot = boot || '-earlier'")
            notes.execute("UPDATE services SET boot = boot || '-earlier'")
            notes.execute("UPDATE meta SET value = value || '-earlier' WHERE key = 'boot'")
        notes.close()
        self.keeper.start()


def enrol(layout: Layout) -> None:
    """An identity whose broker nobody answers for."""
    layout.identity.mkdir(parents=True, mode=0o700)
    authority = trustme.CA()
    own = authority.issue_cert(common_name=DEVICE)
    own.private_key_pem.write_to_path(str(layout.device_key))
    layout.device_cert.write_bytes(b"".join(part.bytes() for part in own.cert_chain_pems))
    authority.cert_pem.write_to_path(str(layout.ca))
    place = {"device_id": DEVICE, "server_url": "https://127.0.0.1:1", "broker_host": "127.0.0.1", "broker_port": 1}
    layout.identity_json.write_text(json.dumps(place))


@contextmanager
def trial_host(runtime: str = "/usr/sbin/runc") -> Iterator[TrialHost]:
    """A host of its own, and nothing left of it."""
    assert Path(runtime).exists()
    with world(runtime) as made:
        host = TrialHost(made)
        try:
            yield host
        finally:
            host.keeper.end()
