"""One edge host for tests: directories, a network namespace and a cgroup parent of its own, and sealed revisions.

The OCI configurations are the ones that prepare writes, over a root file system of busybox.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from edge_daemon.keeper.ports import Seen, StartSpec
from edge_daemon.keeper.runtime import mounts, namespaces
from edge_daemon.keeper.runtime.host import HostRuntime
from edge_daemon.layout import Layout
from edge_daemon.prepare import oci
from edge_daemon.prepare.host import read_host
from edge_daemon.prepare.manifest import ImageConfig
from edge_daemon.prepare.mounts import Sources
from edge_daemon.prepare.mounts import mounts as mounts_of
from edge_daemon.prepare.users import Identity
from edge_daemon.sealed import (
    REVISION_SCHEMA,
    LimitValues,
    PortMapping,
    Revision,
    SealedService,
    TotalValues,
    VolumeMount,
)
from edge_daemon.slots import shown
from fleet_protocol.documents.release import Image, Service

UID_BASE = 1_000_000
MIB = 1 << 20
LIMITS: LimitValues = {"memory_bytes": 32 * MIB, "cpu_millis": 500, "cpu_weight": 100, "pids": 32, "nofile": 256}
BUSYBOX = "/bin/busybox"


class World:
    """A host that one test owns. The test's own thread lives in the host's network namespace."""

    def __init__(self, base: Path, cgroup_parent: str, runtime: str = "auto") -> None:
        self.base = base
        self.layout = Layout(base / "state", base / "run")
        self.cgroup_parent = cgroup_parent
        self.health_window_s = 10
        self.total: TotalValues | None = None
        self.runtime = HostRuntime(self.layout, cgroup_parent, runtime)
        for folder in (self.layout.layers, self.layout.volumes, self.layout.logs):
            folder.mkdir(parents=True)
        self.layout.state.chmod(0o700)
        make_layer(self.layout.layers / "base")

    def seal(
        self, app: str, services: list[SealedService], configs: dict[str, dict[str, Any]], subnet: str = "10.88.3.0/24"
    ) -> StartSpecs:
        """Write a sealed revision as prepare does."""
        revision = hashlib.sha256(json.dumps([app, services, configs, self.total]).encode()).hexdigest()
        folder = self.layout.revision(app, revision)
        hosts = "127.0.0.1 localhost\n" + "".join(f"{s['address']} {s['name']}\n" for s in services if s["address"])
        files: dict[str, str] = {}
        for service in services:
            name = service["name"]
            (folder / "services" / name).mkdir(parents=True)
            config = configs[name]
            for mount in config["mounts"]:
                if mount["destination"] in ("/etc/hosts", "/etc/resolv.conf"):
                    mount["source"] = str(folder / "services" / name / mount["destination"][5:])
            for path, data in (("config.json", json.dumps(config)), ("hosts", hosts), ("resolv.conf", "")):
                target = folder / "services" / name / path
                target.write_text(data)
                files[f"services/{name}/{path}"] = hashlib.sha256(data.encode()).hexdigest()
        sealed: Revision = {
            "schema": REVISION_SCHEMA, "app": app, "release": "1.0.0", "release_sha256": "0" * 64, "revision": revision,
            "subnet": subnet, "start_order": [s["name"] for s in services], "services": services,
            "health_window_s": self.health_window_s, "max_restarts": 0, "group": [], "files": files,
        }  # fmt: skip
        if self.total is not None:
            sealed["total"] = self.total
        manifest = json.dumps(sealed).encode()
        (folder / "revision.json").write_bytes(manifest)
        seal = hashlib.sha256(manifest).hexdigest()
        return {s["name"]: StartSpec(app, s, sealed, seal, 64 * 1024) for s in services}

    def app(
        self, app: str, *services: tuple[SealedService, dict[str, Any]], subnet: str = "10.88.3.0/24"
    ) -> StartSpecs:
        """Seal an app from pairs made by `service`."""
        return self.seal(app, [s for s, _ in services], {s["name"]: c for s, c in services}, subnet)

    def service(
        self,
        app: str,
        name: str,
        args: list[str],
        *,
        address: str = "10.88.3.2",
        network: str = "app",
        ports: list[PortMapping] | None = None,
        volumes: list[VolumeMount] | None = None,
        limits: LimitValues = LIMITS,
        layers: list[str] | None = None,
        read_only: bool = True,
        user: int = 0,
    ) -> tuple[SealedService, dict[str, Any]]:
        """One service that runs `args`, and its configuration."""
        sealed: SealedService = {
            "name": name, "image": "sha256:" + "0" * 64, "layers": layers or ["base"], "network": network,
            "address": address if network == "app" else "", "ports": ports or [], "volumes": volumes or [],
            "depends_on": {}, "restart_policy": "no", "stop_signal": "SIGTERM", "stop_grace_s": 1, "limits": limits,
        }  # fmt: skip
        config = oci_config(self, app, sealed, args, read_only=read_only, user=user)
        return sealed, config

    def seen(self, app: str, service: str) -> Seen:
        """What the runtime sees of one container."""
        return next(s for s in self.runtime.seen() if (s.app, s.service) == (app, service))

    def ended(self, app: str, service: str, seconds: float = 20.0) -> Seen:
        """Wait for the end of a container."""
        wait_for(lambda: self.seen(app, service).pid is None, seconds, f"{app}/{service} to end")
        return self.seen(app, service)

    def log(self, app: str, service: str) -> str:
        """What the container said."""
        lines = (self.layout.logs / app / service / "ctr.log").read_text().splitlines()
        return "\n".join(line.split(" ", 3)[3] for line in lines)

    def says(self, app: str, service: str, words: str, seconds: float = 20.0) -> str:
        """Wait until the container has said something."""
        wait_for(lambda: words in self.log(app, service), seconds, f"{words!r} in the log of {app}/{service}")
        return self.log(app, service)

    def starter(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run the real child process; its status and answer."""
        done = subprocess.run(
            self.runtime.starter_command(*words),
            capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    def close(self) -> None:
        """Take everything down; whatever is left after that is a failure of the product."""
        for one in self.runtime.seen():
            self.runtime.remove(one.app, one.service)
        self.runtime.prune(set())
        for group in ("daemon", "prepare", "apps", "monitors", ""):
            from edge_daemon.keeper.runtime import groups

            groups.remove(self.runtime.hierarchies, f"{self.cgroup_parent}/{group}".rstrip("/"))
        left = mounts.mount_points(str(self.base))
        mounts.unmount_below(str(self.base))
        shutil.rmtree(self.base)
        assert not left, left
        assert not [m for m in self.runtime.hierarchies.mounts() if Path(m + self.cgroup_parent).exists()]


StartSpecs = dict[str, StartSpec]


@contextmanager
def world(runtime: str = "auto") -> Iterator[World]:
    """A host with a network namespace of its own, taken down at the end."""
    base = Path(tempfile.mkdtemp(prefix="rs-runtime-"))
    base.chmod(0o711)
    with namespaces.inside(None):
        namespaces.set_up("lo", up=True)
        made = World(base, f"/roadstead-test-{os.getpid()}-{base.name[-6:]}", runtime)
        made.runtime.setup()
        try:
            yield made
        finally:
            made.close()


def make_layer(folder: Path) -> None:
    """A root file system of busybox alone, owned by the shifted root."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "data"):
        (folder / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, folder / "bin" / "busybox")
    tools = (
        "sh cat echo sleep nc httpd wget kill dd ls mount unshare ln chmod cp id touch mkdir yes head timeout ping "
        "grep tail rm awk"
    )
    for tool in tools.split():
        (folder / "bin" / tool).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (folder / "etc" / "hosts").write_text("")
    (folder / "index.html").write_text("hello from the container\n")
    shift(folder)


def shift(folder: Path) -> None:
    """Give a tree to the container's root."""
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, UID_BASE, UID_BASE)


def oci_config(
    world: World, app: str, service: SealedService, args: list[str], *, read_only: bool, user: int
) -> dict[str, Any]:
    """What prepare writes for a release that asks for nothing special; `seal` fills in the names of files."""
    name = f"{app}.{service['name']}"
    folder, host = world.layout.containers / name, read_host(world.layout.state)
    image = Image(manifest="sha256:" + "0" * 64, manifest_size=1, download_bytes=0, unpacked_bytes=0)
    release = Service.model_validate(
        {
            "name": shown(service["name"]),
            "images": {host.platforms[0]: image},
            "entrypoint": tuple(args),
            "limits": service["limits"],
            "volumes": tuple(service["volumes"]),
            "privileges": {"network": service["network"], "writable_root": not read_only},
        }
    )
    nowhere, volumes = Path("/nowhere"), world.layout.volumes / app
    return oci.config(
        release,
        host.platforms[0],
        ImageConfig((), (), (("PATH", "/bin"),), "", "", ()),
        Identity(user, user, ()),
        {},
        mounts_of(release, Sources(folder / "sys", nowhere, nowhere, volumes, (), "")),
        (),
        oci.Places(
            str(folder / "rootfs"),
            str(world.layout.netns / name),
            f"{world.cgroup_parent}/apps/{app}/{service['name']}",
        ),
        host,
        UID_BASE,
    )


def wait_for(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


def room_used(log: Path) -> int:
    """Bytes of a log's files. conmon may be putting a new one into the place of a full one."""
    sizes = []
    for file in log.iterdir():
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sum(sizes)


def fetch(host: str, port: int, seconds: float = 3.0) -> bytes:
    """What a TCP service answers to an HTTP request; raises OSError if it cannot be reached."""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        out = b""
        while chunk := connection.recv(4096):
            out += chunk
        return out


def in_private_mounts_without_v2() -> None:
    """For a child process: hide the v2 mount from it, so that crun runs on a hybrid host. Nothing outside changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x00020000) == 0
    assert libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0  # MS_REC | MS_PRIVATE
    assert libc.umount2(b"/sys/fs/cgroup/unified", 2) == 0


PYTHON = sys.executable


class Neighbour:
    """Another machine on the host's LAN: a network namespace behind a veth, held by a process of ours."""

    ADDRESS = "198.18.0.1"
    HOST = "198.18.0.2"

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        wait_for(
            lambda: os.stat(f"/proc/{self._holder.pid}/ns/net").st_ino != os.stat("/proc/thread-self/ns/net").st_ino,
            5,
            "a netns",
        )
        self._ip("link", "add", "up0", "type", "veth", "peer", "name", "lan0", "netns", str(self._holder.pid))
        self._ip("addr", "add", f"{self.HOST}/24", "dev", "up0")
        self._ip("link", "set", "up0", "up")
        self._ip("route", "add", "default", "via", self.ADDRESS)
        for words in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{self.ADDRESS}/24", "dev", "lan0"],
            ["link", "set", "lan0", "up"],
        ):
            self.run("ip", *words)
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.wait()

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program on the neighbour."""
        enter = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        return subprocess.run([*enter, *words], check=check, capture_output=True, text=True, timeout=20)

    def fetch(self, address: str, port: int) -> str:
        """What a web service answers to the neighbour; "" if it cannot be reached."""
        return self.run(
            BUSYBOX, "timeout", "2", BUSYBOX, "wget", "-qO-", f"http://{address}:{port}/index.html", check=False
        ).stdout

    @contextmanager
    def serving(self, address: str, port: int, page: Path) -> Iterator[None]:
        """A web service on the neighbour."""
        enter = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        server = subprocess.Popen([*enter, BUSYBOX, "httpd", "-f", "-p", f"{address}:{port}", "-h", str(page.parent)])
        try:
            wait_for(lambda: bool(self.fetch(address, port)), 5, "the neighbour's web service")
            yield
        finally:
            server.kill()
            server.wait()

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, timeout=10)


@contextmanager
def listening(address: str, port: int) -> Iterator[socket.socket]:
    """A service of the host itself."""
    with socket.create_server((address, port)) as server:
        yield server
