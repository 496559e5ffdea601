"""A real keeper process and the device around it, for tests: its directories, its broker, the server's side."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from keeper_broker import Broker
from keeper_server import Server

from edge_daemon.keeper.local_client import ask
from edge_daemon.layout import Layout
from fleet_protocol.documents.device import Reported
from fleet_protocol.wire.errors import RoadsteadError

SIMULATORS = Path(__file__).parent / "simulators"


class KeeperProcess:
    """The keeper, started and killed like a service. By default on the stand-in host of tests/simulators."""

    def __init__(
        self, layout: Layout, command: list[str] | None = None, *, environment: dict[str, str] | None = None
    ) -> None:
        self.layout = layout
        self.command = command or [
            sys.executable, "-X", "utf8", str(SIMULATORS / "standin_keeper.py"), str(layout.state), str(layout.run),
        ]  # fmt: skip
        self.environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = layout.state / "keeper.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self.environment}
            )
        return self

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(10)
        self.process = None
        return status

    def ask(self, **request: Any) -> dict[str, Any]:
        """Over the local socket, as soon as it answers."""
        end = time.monotonic() + 10
        while True:
            try:
                return ask(self.layout.run, request)
            except RoadsteadError:
                assert time.monotonic() < end, self.log.read_text()
                assert self.process is None or self.process.poll() is None, self.log.read_text()
                time.sleep(0.02)

    def containers(self) -> dict[str, dict[str, Any]]:
        """`ps` by app/service."""
        return {f"{c['app']}/{c['name']}": c for c in self.ask(ask="ps")["containers"]}

    def pids(self) -> dict[str, int]:
        return {name: c["pid"] for name, c in self.containers().items() if "pid" in c}


class Host:
    """One device of a test: its directories, the broker, the server's side, the keeper."""

    def __init__(self, base: Path) -> None:
        self.layout = Layout(base / "state", base / "run")
        self.layout.state.mkdir(mode=0o711)
        (base / "broker").mkdir()
        self.broker = Broker(base / "broker")
        self.broker.enrol(self.layout)
        self.server = Server(self.broker)
        self.keeper = KeeperProcess(self.layout)
        self.generation = 0

    def online(self) -> None:
        self.broker.start()
        self.server.connect()
        self.keeper.start()

    def good(self, apps: dict[str, Any], word: str = "GOOD", **more: Any) -> bytes:
        """The next document that the stand-in prepare accepts. A service is a name or a dictionary."""
        self.generation += 1
        for app in apps.values():
            app["services"] = [{"name": s} if isinstance(s, str) else s for s in app["services"]]
        return f"{word} {json.dumps({'generation': self.generation, 'apps': apps, **more})}".encode()

    def apply(self, apps: dict[str, Any], **more: Any) -> Reported:
        """Publish it and wait until every service runs."""
        self.server.publish(self.good(apps, **more))
        return self.server.reported(
            lambda r: (
                r.generation == self.generation
                and {a.app for a in r.apps} == set(apps)
                and all(s.state in ("running", "completed") for a in r.apps for s in a.services)
            ),
        )

    def command(self, app: str, service: str, *argv: str) -> None:
        """What the stand-in container runs."""
        folder = self.layout.state / "commands"
        folder.mkdir(exist_ok=True)
        (folder / f"{app}.{service}.json").write_text(json.dumps(argv))

    def prepare_log(self) -> list[str]:
        log = self.layout.state / "prepare.log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def reboot(self) -> None:
        """What a reboot does to containers and to the run directory. The keeper must not run."""
        self._end_containers()
        while self.layout.run.exists():  # the shells that play conmon still write exit codes into it
            shutil.rmtree(self.layout.run, ignore_errors=True)

    def _end_containers(self) -> None:
        for meta in self.layout.containers.glob("*/meta.json"):
            pid = json.loads(meta.read_text())["pid"]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.keeper.kill()
        end = time.monotonic() + 5  # starters that the keeper left behind
        while time.monotonic() < end and _orphans(self.layout):
            self._end_containers()
            time.sleep(0.05)
        for pid in _orphans(self.layout):
            os.kill(pid, signal.SIGKILL)
        self._end_containers()
        self.broker.go_on()
        self.server.close()
        self.broker.stop()


def _orphans(layout: Layout) -> list[int]:
    """Stand-in starters and prepares of this host, by their arguments; those that hang are ended."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if str(layout.state).encode() in arguments and b"standin_" in b" ".join(arguments[:5]):
                found.append(int(entry.name))
                if b"standin_prepare" in b" ".join(arguments):
                    os.kill(int(entry.name), signal.SIGKILL)
    return found


@contextmanager
def host() -> Iterator[Host]:
    """A device of its own, and nothing left of it."""
    with tempfile.TemporaryDirectory(prefix="roadstead-keeper-", ignore_cleanup_errors=True) as name:
        made = Host(Path(name))
        try:
            yield made
        finally:
            made.close()
