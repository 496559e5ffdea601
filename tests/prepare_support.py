"""One edge host with its server, and the real one-shot as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trust_support
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from edge_server_support import EdgeServer
from oci_support import Image
from trust_support import World

from edge_daemon.layout import Layout
from edge_daemon.sealed import Index, Revision
from fleet_protocol.trust.keys import FileSigner

DEVICE = "pump-3"
MIB = 1 << 20


@dataclass
class Outcome:
    """How one run ended."""

    status: int
    lines: list[dict[str, Any]]
    stderr: str

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]

    @property
    def sealed(self) -> dict[str, Any]:
        assert (self.status, "sealed" in self.last) == (0, True), (self.last, self.stderr)
        return dict(self.last["sealed"])

    @property
    def refused(self) -> dict[str, Any]:
        assert (self.status != 0, "refused" in self.last) == (True, True), self.lines
        return dict(self.last["refused"])


class Site:
    """Directories of a host that is enrolled."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.world = live_world(base / "world")
        self.layout = Layout(base / "state", base / "run")
        self.generation = 0
        self.cgroup_parent = f"/roadstead-test-{os.getpid()}-{base.name[-6:]}"
        identity = self.layout.identity
        identity.mkdir(parents=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.layout.device_key.touch(mode=0o600)
        self.layout.device_key.write_bytes(pem)
        self.server = EdgeServer(self.world, DEVICE, FileSigner(self.layout.device_key).public)
        self.layout.ca.write_text(self.server.ca_pem)
        self.layout.tuf_root.write_bytes(self.world.root)
        self.layout.identity_json.write_text(
            json.dumps(
                {"device_id": DEVICE, "server_url": self.server.url, "broker_host": "127.0.0.1", "broker_port": 1}
            )
        )

    # --- what is released and wanted

    def service(self, image: Image, name: str = "web", **over: Any) -> dict[str, Any]:
        """A service of a release; its image's blobs are on the server from now on."""
        self.server.blobs |= image.blobs
        return {
            "name": name,
            "images": image.released,
            "limits": {"memory_bytes": 32 * MIB, "cpu_millis": 500, "pids": 16, "nofile": 256},
            "privileges": {"network": "none"},
            **over,
        }

    def release(
        self, *services: dict[str, Any], version: str = "1.0.0", app: str = "cam", **over: Any
    ) -> dict[str, Any]:
        """Sign it; what a desired state says to run it."""
        if app not in self.world.locks and app != "cam":
            self.world.trust.add_app(app, self.world.time.now)
            self.world.trust.upload(self.world)
        sha256 = (
            self.world.release(version, app, services=list(services), config={}, **over)
            if "config" not in over
            else (self.world.release(version, app, services=list(services), **over))
        )
        return {"app": app, "release": version, "sha256": sha256, "config": {}}

    def document(self, *apps: dict[str, Any], **over: Any) -> Path:
        """The next generation's envelope, as the keeper would have written it down."""
        self.generation += 1
        value = self.world.desired_value(
            **{"generation": self.generation, "device_id": DEVICE, "apps": list(apps), **over}
        )
        path = self.base / f"{self.generation}.dsse"
        path.write_bytes(self.world.envelope(value))
        return path

    # --- the one-shot

    def command(self, document: Path, *more: str) -> list[str]:
        state, run = str(self.layout.state), str(self.layout.run)
        return [
            sys.executable, "-I", "-m", "edge_daemon.prepare", "--state-dir", state, "--run-dir", run,
            "--document", str(document), "--cgroup-parent", self.cgroup_parent, *more,
        ]  # fmt: skip

    def prepare(self, document: Path, *more: str, timeout: float = 60) -> Outcome:
        done = subprocess.run(
            self.command(document, *more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return Outcome(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)

    def run(self, *services: dict[str, Any], **over: Any) -> Outcome:
        """Release, want and prepare."""
        return self.prepare(self.document(self.release(*services, **over)))

    # --- what came of it

    def index(self, generation: int | None = None) -> Index:
        value: Index = json.loads(self.layout.generation(generation or self.generation).read_bytes())
        return value

    def revision_folder(self, app: str = "cam") -> Path:
        return self.layout.revision(app, self.index()["apps"][app]["revision"])

    def revision(self, app: str = "cam") -> Revision:
        value: Revision = json.loads((self.revision_folder(app) / "revision.json").read_bytes())
        return value

    def config(self, service: str = "web", app: str = "cam") -> dict[str, Any]:
        path = self.revision_folder(app) / "services" / service / "config.json"
        value: dict[str, Any] = json.loads(path.read_bytes())
        return value

    def layers(self) -> list[str]:
        """Names below images/layers, drafts included."""
        return sorted(os.listdir(self.layout.layers)) if self.layout.layers.exists() else []

    def close(self) -> None:
        self.server.close()
        shutil.rmtree(self.base)


def live_world(folder: Path) -> World:
    """The world of trust_support at the present time: a process that a test starts has no clock to be set."""
    now = datetime.now(UTC).replace(microsecond=0)
    at, trust_support.NOW = trust_support.NOW, now
    try:
        world = World(folder)
    finally:
        trust_support.NOW = at
    world.time.now = now
    world.repository.refresh_timestamp(now, force=True)
    return world


@contextmanager
def site() -> Iterator[Site]:
    """Below /tmp itself: pytest's own folders cannot be passed by other ids."""
    base = Path(tempfile.mkdtemp(prefix="rs-prepare-"))
    base.chmod(0o711)
    made = Site(base)
    try:
        yield made
    finally:
        made.close()
