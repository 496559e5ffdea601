"""The central side of the product on this machine, for guests: server, broker, a signed release for both architectures.

Made by the commands that an owner types. Everything listens on 127.0.0.1; guests reach it as `server.lab`.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from fleet_release.images.build import build_layout

BIN = Path(sys.executable).parent
GUEST_PORTS = (8883, 8443)
ENTRY = """#!/bin/sh
mkdir -p /tmp/www
echo "hello from ${SITE:-nowhere}" > /tmp/www/index.html
exec busybox httpd -f -p 8080 -h /tmp/www
"""
COMPOSE = """services:
  web:
    image: lab/web:1.0
    ports: ["8080:8080"]
    mem_limit: 16m
    cpus: 0.25
    pids_limit: 32
    volumes: ["data:/data"]
volumes: {data: }
"""
FLEET = """apiVersion: roadstead/v1
kind: Fleet
name: lab
select: all
run: [web@1.0.0]
config: {web: {SITE: "{label.site}"}}
"""
CONFIG = """config:
  SITE: {service: web, type: string, pattern: "[a-z0-9-]{1,16}", to: env, default: unset}
health: {window: 15s}
"""


class Center:
    """Server and broker in a folder of their own; a context manager that ends both."""

    def __init__(self, busyboxes: dict[str, bytes]) -> None:
        """`busyboxes`: a static busybox by OCI platform."""
        # Short, and searchable by the broker's own user.
        self.folder = Path(tempfile.mkdtemp(prefix="roadstead-lab-", dir="/var/tmp"))
        self.folder.chmod(0o711)
        self.broker_port, self.https_port = _free_port(), _free_port()
        self._busyboxes = busyboxes
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
            self._release()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fleet(self, *arguments: str) -> str:
        """The `fleet` command's output."""
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / "config")}
        return _run(BIN / "fleet", *arguments, cwd=self.folder / "work", env=environment)

    def token(self, name: str) -> str:
        """A token for one device that needs no approval."""
        return self.fleet("enroll", "token", "--name", name, "--label", f"site={name}", "--auto-approve").strip()

    def device(self, name: str) -> dict[str, Any]:
        """What `fleet get device NAME -o json` says; empty before it is known."""
        items = json.loads(self.fleet("get", "devices", "-o", "json"))["items"]
        return next((dict(row) for row in items if row["device_id"] == name), {})

    def events(self, name: str) -> list[dict[str, Any]]:
        """The device's events as the server has them."""
        text = self.fleet("get", "events", "--device", name, "--limit", "1000", "-o", "json")
        return list(json.loads(text)["items"])

    def _start(self) -> None:
        server = self.folder / "server"
        (self.folder / "work").mkdir()
        _run(
            BIN / "fleet-server", "init", "--dir", str(server), "--name", "server.lab", "--name", "127.0.0.1",
            "--listen", f"127.0.0.1:{self.https_port}", "--url", f"https://server.lab:{GUEST_PORTS[1]}",
            "--broker", f"server.lab:{GUEST_PORTS[0]}", "--broker-listen", f"127.0.0.1:{self.broker_port}",
        )  # fmt: skip
        for name, command in (
            ("broker", ["/usr/sbin/mosquitto", "-c", str(server / "broker" / "mosquitto.conf")]),
            ("server", [str(BIN / "fleet-server"), "run", "--dir", str(server)]),
        ):
            with (self.folder / f"{name}.log").open("wb") as log:
                self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        for port in (self.broker_port, self.https_port):
            wait_for(f"port {port} to open", lambda port=port: _open(port), 30)
        self.fleet(
            "ctx", "add", "lab", "--server", f"https://127.0.0.1:{self.https_port}",
            "--ca-file", str(server / "ca" / "ca.pem"), "--token-file", str(server / "admin.token"),
        )  # fmt: skip

    def _release(self) -> None:
        self.fleet("trust", "init")
        self.fleet("trust", "delegate", "web")
        work = self.folder / "work"
        platforms = {
            platform: [("/bin/busybox", busybox, 0o755), ("/entry.sh", ENTRY.encode(), 0o755)]
            for platform, busybox in self._busyboxes.items()
        }
        config = {"Entrypoint": ["/bin/busybox", "sh", "/entry.sh"], "Env": ["PATH=/bin"], "User": "1000:1000"}
        build_layout(work / "web", platforms, config)
        (work / "compose.yaml").write_text(COMPOSE)
        self.fleet("init", "compose.yaml", "--name", "web", "--version", "1.0.0")
        with (work / "app.yaml").open("a") as file:
            file.write(CONFIG)
        self.release("1.0.0", COMPOSE)

    def release(self, version: str, compose: str) -> None:
        """Sign and upload this version, and name it in fleet.yaml; `apply` is the caller's."""
        work = self.folder / "work"
        (work / "compose.yaml").write_text(compose)
        app = (work / "app.yaml").read_text()
        (work / "app.yaml").write_text(re.sub(r"(?m)^version: .*$", f"version: {version}", app))
        (work / "fleet.yaml").write_text(FLEET.replace("web@1.0.0", f"web@{version}"))
        self.fleet("release", "-f", "app.yaml", "--image", f"lab/web:1.0={work}/web")

    def log(self, name: str) -> str:
        """The end of `broker` or `server`'s log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]


def wait_for(what: str, ready: Callable[[], Any], seconds: float) -> Any:
    """The first true answer. Raises TimeoutError that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ready():
            return answer
        time.sleep(0.5)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")


def _run(command: Path, *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(command), *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command.name} {' '.join(arguments[:4])}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
