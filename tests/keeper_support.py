"""A real mosquitto with mutual TLS, the server's side of the wire, and a real keeper process, for tests.

Nothing here sleeps for luck: `until` pumps the server's MQTT client and looks again.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
import trustme
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_daemon.keeper.local_client import ask
from edge_daemon.layout import Layout
from fleet_protocol.documents.device import Ack, Events, Presence, Reported
from fleet_protocol.wire.errors import RoadsteadError
from fleet_protocol.wire.topics import Channel, topic

ROOT = Path(__file__).parents[1]
SIMULATORS = Path(__file__).parent / "simulators"
DEVICE = "cam-1"
SERVER = "roadstead-server"

CONFIG = """
listener {port} 127.0.0.1
cafile {dir}/ca.pem
certfile {dir}/server.pem
keyfile {dir}/server.key
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {dir}/acl
user root
persistence false
max_queued_messages 10000
max_inflight_messages 100
"""
ACL = """
user {device}
topic read roadstead/v1/devices/{device}/desired
topic read roadstead/v1/devices/{device}/acks
topic read roadstead/v1/devices/{device}/requests
topic write roadstead/v1/devices/{device}/reported
topic write roadstead/v1/devices/{device}/events
topic write roadstead/v1/devices/{device}/presence

user {server}
topic readwrite roadstead/v1/devices/#
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """One mosquitto of ours, on a port that stays over restarts."""

    def __init__(self, folder: Path, device: str = DEVICE, **certificate: Any) -> None:
        self.folder = folder
        self.device = device
        self.port = free_port()
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.renew(**certificate)
        self.allow(ACL)
        (folder / "mosquitto.conf").write_text(CONFIG.format(dir=folder, port=self.port))
        self._process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None

    def renew(self, **certificate: Any) -> None:
        """Another server certificate; `not_after` as trustme takes it."""
        own = self.ca.issue_cert("127.0.0.1", **certificate)
        own.private_key_pem.write_to_path(str(self.folder / "server.key"))
        (self.folder / "server.pem").write_bytes(b"".join(p.bytes() for p in own.cert_chain_pems))

    def allow(self, acl: str) -> None:
        (self.folder / "acl").write_text(acl.format(device=self.device, server=SERVER))

    def start(self) -> None:
        process = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(self.folder / "mosquitto.conf")], stderr=subprocess.PIPE, text=True
        )
        said: queue.Queue[str] = queue.Queue()

        def pump() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                said.put(line)
            said.put("")

        self._process, self._pump = process, threading.Thread(target=pump)
        self._pump.start()
        while "running" not in (line := said.get(timeout=10)):
            assert line, f"mosquitto ended with status {process.wait()}"

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def go_on(self) -> None:
        """After a SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number == signal.SIGSTOP:
                return
            self._process.wait(10)
            assert self._pump is not None
            self._pump.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def enrol(self, layout: Layout, server_url: str = "https://127.0.0.1:1") -> None:
        """What enrolment leaves in the state directory."""
        layout.identity.mkdir(parents=True, mode=0o700, exist_ok=True)
        own = self.ca.issue_cert(common_name=self.device)
        own.private_key_pem.write_to_path(str(layout.device_key))
        (layout.device_cert).write_bytes(b"".join(p.bytes() for p in own.cert_chain_pems))
        shutil.copy(self.folder / "ca.pem", layout.ca)
        layout.identity_json.write_text(
            json.dumps(
                {
                    "device_id": self.device,
                    "server_url": server_url,
                    "broker_host": "127.0.0.1",
                    "broker_port": self.port,
                }
            )
        )


class Server:
    """The server's end of the wire. It stores events as the real one does and acknowledges them while `acking`."""

    def __init__(self, broker: Broker) -> None:
        self.acking = True
        self.reports: list[Reported] = []
        self.presence: list[Presence] = []
        self.arrived: list[tuple[str, int]] = []  # every event as it came, repeated ones too
        self.stored: dict[tuple[str, int], str] = {}
        self.kinds: list[str] = []
        self._broker = broker
        own = broker.ca.issue_cert(common_name=SERVER)
        context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
        with own.private_key_and_cert_chain_pem.tempfile() as file:
            context.load_cert_chain(file)
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, SERVER, protocol=mqtt.MQTTv5)  # type: ignore[attr-defined]
        self._client.tls_set_context(context)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("roadstead/v1/devices/#", qos=1)

    def connect(self) -> None:
        self._client.connect("127.0.0.1", self._broker.port, clean_start=True)
        self.until(self._client.is_connected)

    def close(self) -> None:
        if self._client.is_connected():
            self._client.disconnect()
            self._client.loop(0.05)
        if (sock := self._client.socket()) is not None:
            sock.close()

    def pump(self, seconds: float = 0.02) -> None:
        end = time.monotonic() + seconds
        while True:
            if self._client.loop(max(0.0, end - time.monotonic())) != mqtt.MQTT_ERR_SUCCESS:
                with suppress(OSError):
                    self._client.reconnect()
                time.sleep(0.02)
            if time.monotonic() >= end:
                return

    def until(self, true: Callable[[], object], *, seconds: float = 15.0, why: str = "") -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, why or "it did not come true in time"
            self.pump()

    @staticmethod
    def until_closed(true: Callable[[], object], *, seconds: float = 15.0) -> None:
        """The same while there is no broker to hear."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come true in time"
            time.sleep(0.05)

    def publish(
        self, payload: bytes, generation: int | None = None, sha256: str = "", channel: Channel = Channel.DESIRED
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if generation is not None:
            properties.UserProperty = [("generation", str(generation)), ("sha256", sha256)]
        self._client.publish(
            topic(self._broker.device, channel),
            payload,
            qos=1,
            retain=channel == Channel.DESIRED,
            properties=properties,
        )

    @property
    def last(self) -> Reported | None:
        return self.reports[-1] if self.reports else None

    def reported(self, true: Callable[[Reported], object], *, seconds: float = 15.0) -> Reported:
        """Wait until the newest report is so; what it then is."""
        end = time.monotonic() + seconds
        while self.last is None or not true(self.last):
            assert time.monotonic() < end, f"last report: {self.last}"
            self.pump()
        assert self.last is not None
        return self.last

    def count(self, kind: str) -> int:
        return self.kinds.count(kind)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        match message.topic.rsplit("/", 1)[1]:
            case "reported":
                self.reports.append(Reported.parse(payload))
            case "presence" if payload:
                self.presence.append(Presence.parse(payload))
            case "events":
                self._store(Events.parse(payload))

    def _store(self, events: Events) -> None:
        for event in events.events:
            key = (events.spool, event.seq)
            self.arrived.append(key)
            text = f"{event.kind} {event.text}"
            assert self.stored.setdefault(key, text) == text, "one number, two events"
            if self.arrived.count(key) == 1:
                self.kinds.append(event.kind)
        if self.acking:
            self.acknowledge(events.spool)

    def acknowledge(self, spool: str) -> None:
        through = 0
        while (spool, through + 1) in self.stored:
            through += 1
        self.publish(Ack(spool=spool, through=through).to_bytes(), channel=Channel.ACKS)

    @property
    def spool(self) -> str:
        """The one spool of a test whose database stays."""
        (spool,) = {spool for spool, _ in self.stored}
        return spool

    def gaps(self) -> list[tuple[str, int]]:
        """Numbers that are missing below the highest of their spool."""
        spools = {spool for spool, _ in self.stored}
        return [
            (spool, n)
            for spool in spools
            for n in range(1, max(s for p, s in self.stored if p == spool))
            if (spool, n) not in self.stored
        ]


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
