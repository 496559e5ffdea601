"""A real server: `fleet-server run` and mosquitto as processes, HTTPS and MQTT over TLS, and small devices."""

from __future__ import annotations

import base64
import contextlib
import http.client
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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from provisioning_support import free_port
from trust_support import a_release, sha256

from fleet_client.api import FleetClient
from fleet_client.contexts import Context
from fleet_protocol.documents.fleet import OnlineKeys
from fleet_protocol.wire.topics import Channel, topic
from fleet_release.trust.ceremony import TrustDirectory
from fleet_release.trust.release_role import add_release, open_role, publish
from provisioning import proof

WAIT_S = 15.0


def wait_until(true: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
    """Poll gently; fail with words."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


class Process:
    """A child whose stderr is read line by line; only ever stopped by its own handle."""

    def __init__(self, command: list[str], ready: str, fds: tuple[int, ...] = ()) -> None:
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=fds)
        self._pump = threading.Thread(target=self._read)
        self._pump.start()
        try:
            while ready and ready not in (line := self._lines.get(timeout=WAIT_S)):
                assert line, f"{command[0]} ended:\n{''.join(self.said)}"
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.said.append(line)
            self._lines.put(line)
        self._lines.put("")

    def end(self, how: int = signal.SIGTERM) -> int:
        if self.child.poll() is None:
            self.child.send_signal(how)
        status = self.child.wait(timeout=20)
        self._pump.join()
        assert self.child.stderr is not None
        self.child.stderr.close()
        return status


class ServerUnderTest:
    """One server directory with its two processes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="roadstead-server-"))
        self.folder.chmod(0o755)  # the broker's own user must get through
        self.dir = self.folder / "server"
        self.port, self.broker_port = free_port(), free_port()
        fleet_server = [sys.executable, "-m", "fleet_server.main"]
        made = subprocess.run(
            [
                *fleet_server, "init", "--dir", str(self.dir), "--name", "localhost", "--name", "127.0.0.1",
                "--listen", f"127.0.0.1:{self.port}", "--url", f"https://localhost:{self.port}",
                "--broker", f"127.0.0.1:{self.broker_port}",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        self.told = made.stdout
        self.command = [*fleet_server, "run", "--dir", str(self.dir)]
        self.token = (self.dir / "admin.token").read_text().strip()
        self.tls = ssl.create_default_context(cafile=str(self.dir / "ca/ca.pem"))
        self.broker: Process | None = None
        self.server: Process | None = None

    def start_broker(self) -> None:
        self.broker = Process(["/usr/sbin/mosquitto", "-c", str(self.dir / "broker/mosquitto.conf")], "running")

    def start_server(self) -> None:
        self.server = Process(self.command, "startup complete")

    def start(self) -> None:
        self.start_broker()
        self.start_server()
        self.wait_connected()

    def wait_connected(self) -> None:
        wait_until(lambda: bool(self.api("GET", "/v1/status")["broker"]["connected"]), "the server's broker link")

    def stop(self) -> None:
        for process in (self.server, self.broker):
            if process is not None:
                process.end()
        self.server = self.broker = None

    def close(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder)

    # --- HTTPS

    def http(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
        token: str | None = "",
    ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        """Status, headers (lower case) and body; `token`: None for no header, "" for the admin's."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=30)
        auth = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}
        try:
            connection.request(method, path, body, {**auth, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, *, status: int = 200, token: str | None = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        got, _, answer = self.http(method, path, data, token=token)
        assert got == status, answer
        return json.loads(answer) if answer else None

    def client(self) -> FleetClient:
        url = f"https://localhost:{self.port}"
        return FleetClient(Context("test", url, self.dir / "ca/ca.pem", self.dir / "admin.token"))

    # --- trust

    def make_trust(self, *apps: str) -> TrustDirectory:
        """Root, targets and a role for each app, uploaded."""
        trust = TrustDirectory(self.folder / "trust")
        with self.client() as client:
            trust.create(OnlineKeys.model_validate(client.online_keys()), _now())
            for app in apps:
                trust.add_app(app, _now())
            trust.upload(client)
        return trust

    def release(self, trust: TrustDirectory, app: str, version: str, **over: Any) -> None:
        with self.client() as client:
            role = open_role(client, app, sha256(trust.root_v1()), None, now=time.time)
            publish(client, add_release(role, a_release(app, version, **over), [trust.release_signer(app)], _now()))

    # --- devices

    def ask_to_enrol(self, name: str, key: ec.EllipticCurvePrivateKey, **wish: Any) -> dict[str, Any]:
        """EnrolAnswer, by the way that every device goes."""
        token = self.api("POST", "/v1/tokens", {"labels": {"site": "lab"}, **wish})
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "any")])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        nonce = self.api("POST", "/v1/enrol/challenge", {"token_id": token["token_id"]}, token=None)["nonce"]
        der = csr.public_bytes(serialization.Encoding.DER)
        asked = {
            "token_id": token["token_id"],
            "nonce": nonce,
            "csr_pem": csr.public_bytes(serialization.Encoding.PEM).decode(),
            "proof": proof.enrol_proof(token["secret"], nonce, der),
            "requested_name": name,
            "host": {"platform": "linux/amd64"},
        }
        return dict(self.api("POST", "/v1/enrol", asked, token=None))

    def enrol(self, name: str, **wish: Any) -> DeviceUnderTest:
        """A device whose token approves at once."""
        key = ec.generate_private_key(ec.SECP256R1())
        answer = self.ask_to_enrol(name, key, **{"auto_approve": True, **wish})
        assert answer["status"] == "approved", answer
        folder = self.folder / "devices" / name
        folder.mkdir(parents=True)
        (folder / "device.pem").write_text(answer["certificate_pem"])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "device.key").write_bytes(pem)
        return DeviceUnderTest(self, answer["device_id"], folder, key)


@dataclass
class DeviceUnderTest:
    """A device with an outbox: what is not acknowledged by the server is sent again."""

    server: ServerUnderTest
    name: str
    folder: Path
    key: ec.EllipticCurvePrivateKey
    spool: str = field(default_factory=lambda: os.urandom(8).hex())
    outbox: list[int] = field(default_factory=list)
    desired: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    acks: list[int] = field(default_factory=list)
    _client: mqtt.Client | None = None

    def session(self) -> str:
        """A bearer token of the HTTPS side."""
        nonce = self.server.api("POST", "/v1/device/challenge", {"device_id": self.name}, token=None)["nonce"]
        return str(self.server.api("POST", "/v1/device/session", self.session_request(nonce), token=None)["token"])

    def session_request(self, nonce: str) -> dict[str, str]:
        signature = self.key.sign(proof.session_message(self.name, nonce), ec.ECDSA(hashes.SHA256()))
        return {"device_id": self.name, "nonce": nonce, "signature": base64.b64encode(signature).decode()}

    @contextlib.contextmanager
    def online(self) -> Iterator[None]:
        """Connected by MQTT, reconnecting by itself, as long as the block lasts."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.name, protocol=mqtt.MQTTv5)
        tls = ssl.create_default_context(cafile=str(self.server.dir / "ca/ca.pem"))
        tls.load_cert_chain(self.folder / "device.pem", self.folder / "device.key")
        client.tls_set_context(tls)
        client.reconnect_delay_set(0.1, 0.5)  # type: ignore[arg-type]
        connected = threading.Event()

        def on_connect(client: mqtt.Client, *_: object) -> None:
            client.subscribe([(topic(self.name, Channel.DESIRED), 1), (topic(self.name, Channel.ACKS), 1)])
            client.publish(topic(self.name, Channel.PRESENCE), json.dumps({"online": True}), qos=1, retain=True)

        client.on_connect = on_connect
        client.on_subscribe = lambda *_: connected.set()
        client.on_message = self._on_message
        client.will_set(topic(self.name, Channel.PRESENCE), json.dumps({"online": False}), qos=1, retain=True)
        client.connect("127.0.0.1", self.server.broker_port, keepalive=10)
        client.loop_start()
        self._client = client
        try:
            assert connected.wait(WAIT_S)
            yield
        finally:
            client.disconnect()
            client.loop_stop()
            sock = client.socket()
            if sock is not None:
                sock.close()

    def publish(self, channel: Channel, value: Any) -> None:
        """Send and forget, as a device does; what must not be lost is in the outbox."""
        assert self._client is not None
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._client.publish(topic(self.name, channel), data, qos=1)

    def report(self, generation: int = 0, sha256: str | None = None, **over: Any) -> None:
        fields = {"generation": generation, "running_generation": generation, **({"sha256": sha256} if sha256 else {})}
        self.publish(
            Channel.REPORTED, {"device_id": self.name, "boot_id": "b", "at": int(time.time()), **fields, **over}
        )

    def send_outbox(self) -> None:
        """The oldest hundred of what is not acknowledged."""
        events = [{"seq": n, "at": 1, "kind": "test.event", "text": f"event {n}"} for n in self.outbox[:100]]
        if events:
            self.publish(Channel.EVENTS, {"device_id": self.name, "spool": self.spool, "events": events})

    def drain(self, seconds: float = 30.0) -> None:
        """Send until everything is acknowledged."""
        deadline = time.monotonic() + seconds
        while self.outbox:
            assert time.monotonic() < deadline, f"{len(self.outbox)} events are not acknowledged"
            before = len(self.outbox)
            self.send_outbox()
            with contextlib.suppress(AssertionError):
                wait_until(lambda before=before: len(self.outbox) < before, "an acknowledgement", 1.0)  # type: ignore[misc]

    def _on_message(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/desired"):
            self.desired.append((dict(message.properties.UserProperty), bytes(message.payload)))  # type: ignore[union-attr]
            return
        said = json.loads(message.payload)
        if said["spool"] == self.spool:
            self.acks.append(said["through"])
            self.outbox = [n for n in self.outbox if n > said["through"]]


@contextlib.contextmanager
def running_server() -> Iterator[ServerUnderTest]:
    server = ServerUnderTest()
    try:
        server.start()
        yield server
    finally:
        server.close()


def listening_socket() -> socket.socket:
    """A bound socket that another process can inherit."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.set_inheritable(True)
    return sock


def _now() -> datetime:
    return datetime.now(UTC)
