"""Real parts for tests of enrolment: an authority over the server's own SQLite store, its HTTPS front, a mosquitto."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import queue
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleet_protocol.documents.enrolment import (
    EnrolAnswer,
    EnrolChallengeRequest,
    EnrolPoll,
    EnrolRequest,
    NewToken,
    SessionChallengeRequest,
    SessionRequest,
)
from fleet_protocol.trust.keys import PublicKey
from fleet_protocol.wire.errors import Exit, RoadsteadError
from fleet_server.store.sqlite import SqliteStore
from provisioning import proof
from provisioning.authority import ca as certificates
from provisioning.authority.broker_files import BrokerDirectory
from provisioning.authority.broker_text import BrokerSettings
from provisioning.authority.ca import DeviceCa
from provisioning.authority.enrolment import EnrolmentDesk, Offer
from provisioning.authority.nonces import Nonces
from provisioning.token import Token

NOW = 1_790_000_000
TUF_ROOT = '{"signed": {"_type": "root", "version": 1}}'
ROOT_SHA256 = hashlib.sha256(TUF_ROOT.encode()).hexdigest()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Desk:
    """An enrolment desk over a store of its own."""

    def __init__(self, folder: Path, authority: DeviceCa | None = None) -> None:
        self.store = SqliteStore(folder / "server.db")
        self.ca = authority or DeviceCa.create("lab", NOW)
        self.changes: list[list[str]] = []
        self.hook: Callable[[], None] = lambda: None
        self.root: str | None = TUF_ROOT
        self.url = "https://127.0.0.1:1"
        self.nonces = Nonces()
        offer = Offer(self.url, "127.0.0.1", 8883, lambda: self.root)
        self.desk = EnrolmentDesk(self.store, self.ca, self.nonces, offer, self._changed)

    def _changed(self) -> None:
        self.changes.append(self.store.active_device_ids())
        self.hook()

    def token(self, now: int = NOW, **wish: Any) -> Token:
        issued = self.desk.issue_token(NewToken(**wish), now)
        return Token(self.url, self.ca.sha256, ROOT_SHA256, issued.token_id, issued.secret)

    def request(self, token: Token, csr_pem: str | None = None, now: int = NOW, **other: Any) -> EnrolRequest:
        """A good request, or one with parts replaced."""
        csr = make_csr() if csr_pem is None else csr_pem
        nonce = self.desk.challenge(token.token_id, now).nonce
        der = certificates.der_of_pem(csr)
        fields = {
            "token_id": token.token_id,
            "nonce": nonce,
            "csr_pem": csr,
            "proof": proof.enrol_proof(token.secret, nonce, der),
            "requested_name": "cam-1",
        }
        return EnrolRequest(**{**fields, **other})

    def enrol(self, token: Token, csr_pem: str | None = None, now: int = NOW, **other: Any) -> EnrolAnswer:
        return self.desk.enrol(self.request(token, csr_pem, now, **other), now)

    def poll(self, token: Token, request_id: str, now: int = NOW) -> EnrolAnswer:
        asked = EnrolPoll(token_id=token.token_id, proof=proof.poll_proof(token.secret, request_id))
        return self.desk.poll(request_id, asked, now)


@contextlib.contextmanager
def open_desk(folder: Path, authority: DeviceCa | None = None) -> Iterator[Desk]:
    folder.mkdir(parents=True, exist_ok=True)
    desk = Desk(folder, authority)
    try:
        yield desk
    finally:
        desk.store.close()


def make_csr(key: Any = None, name: str = "device", **extensions: x509.ExtensionType) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if type(key).__name__.startswith("Ed") else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


class HttpsFront:
    """The routes of docs/wire.md that a device uses, over a desk; and a record of what was asked."""

    def __init__(self, desk: Desk, folder: Path, clock: Callable[[], int] = lambda: NOW) -> None:
        self.desk = desk
        self.clock = clock
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.files: dict[str, bytes] = {}
        self.sessions: dict[str, str] = {}
        self.dropped_answers = 0  # this many answers are computed and then lost
        self.renewals: Callable[[str, bytes], object] | None = None
        key = certificates.new_key()
        chain = desk.ca.issue_server(["127.0.0.1", "localhost"], key.public_key(), clock()).pem
        (folder / "front.pem").write_text(chain)
        (folder / "front.key").write_bytes(certificates.private_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "front.pem", folder / "front.key")
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.server.context = context
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        desk.url = self.url
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def answer(self, _method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        desk, now = self.desk.desk, self.clock()
        if path == "/v1/ca":
            return 200, self.desk.ca.pem.encode()
        if path == "/v1/enrol/challenge":
            return _ok(desk.challenge(EnrolChallengeRequest.parse(body).token_id, now))
        if path == "/v1/enrol":
            return _ok(desk.enrol(EnrolRequest.parse(body), now))
        if path.startswith("/v1/enrol/") and path.endswith("/poll"):
            return _ok(desk.poll(path.split("/")[3], EnrolPoll.parse(body), now))
        if path == "/v1/device/challenge":
            device_id = SessionChallengeRequest.parse(body).device_id
            return 200, json.dumps({"nonce": self.desk.nonces.issue("session", device_id, now)}).encode()
        if path == "/v1/device/session":
            return self._session(SessionRequest.parse(body), now)
        who = self.sessions.get(headers.get("authorization", "").removeprefix("Bearer "))
        if path == "/v1/time":
            return 200, body
        if who is None:
            return 401, _error("E0401", "no session")
        if path == "/v1/device/renew" and self.renewals is not None:
            return _ok(self.renewals(who, body))
        if path in self.files:
            return 200, self.files[path]
        return 404, _error("E0404", "there is no such thing")

    def _session(self, asked: SessionRequest, now: int) -> tuple[int, bytes]:
        device = self.desk.store.device(asked.device_id)
        message = proof.session_message(asked.device_id, asked.nonce)
        holds = self.desk.nonces.holds(asked.nonce, "session", asked.device_id, now)
        if device is None or device.revoked_at is not None or not holds:
            return 401, _error("E0401", "not known")
        good = PublicKey(device.public_pem.encode()).verifies(base64.b64decode(asked.signature), message)
        if not good or not self.desk.nonces.spend(asked.nonce, now):
            return 401, _error("E0401", "not known")
        token = hashlib.sha256(asked.nonce.encode()).hexdigest()
        self.sessions[token] = asked.device_id
        return 200, json.dumps({"token": token, "expires_in_s": 60}).encode()


@contextlib.contextmanager
def https_front(desk: Desk, folder: Path, clock: Callable[[], int] = lambda: NOW) -> Iterator[HttpsFront]:
    front = HttpsFront(desk, folder, clock)
    try:
        yield front
    finally:
        front.close()


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext
    daemon_threads = False

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(10)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


def _handler(front: HttpsFront) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve("GET", b"")

        def do_POST(self) -> None:
            self._serve("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _serve(self, method: str, body: bytes) -> None:
            headers = {k.lower(): v for k, v in self.headers.items()}
            front.asked.append((method, self.path, headers, body))
            try:
                status, answer = front.answer(method, self.path, headers, body)
            except RoadsteadError as error:
                status = {Exit.NOT_ALLOWED: 403, Exit.NOT_FOUND: 404, Exit.CONFLICT: 409}.get(error.exit_status, 400)
                answer = json.dumps({"code": error.code, "cause": error.reason, "next": error.hint}).encode()
            if front.dropped_answers and self.path.startswith("/v1/enrol"):
                front.dropped_answers -= 1
                self.close_connection = True
                return
            start = 0
            if status == 200 and "range" in headers and method == "GET":
                start = int(headers["range"].removeprefix("bytes=").split("-")[0])
                status = 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(answer) - 1}/{len(answer)}")
            self.send_header("Content-Length", str(len(answer) - start))
            self.end_headers()
            self.wfile.write(answer[start:])

        def log_message(self, *_words: Any) -> None:
            return

    return Handler


def _ok(document: Any) -> tuple[int, bytes]:
    return 200, document.to_bytes()


def _error(code: str, reason: str) -> bytes:
    return json.dumps({"code": code, "cause": reason, "next": ""}).encode()


class Broker:
    """A real mosquitto over a directory that the product wrote."""

    def __init__(self, folder: Path, authority: DeviceCa, **settings: Any) -> None:
        self.port = free_port()
        chosen = BrokerSettings(
            listen_address="127.0.0.1",
            port=self.port,
            names=("127.0.0.1", "localhost"),
            run_as="mosquitto",
            **settings,
        )
        self.directory = BrokerDirectory(folder, authority, chosen)
        self.folder = folder
        self.ca = authority
        self.said: queue.Queue[str] = queue.Queue()
        self.process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None

    def start(self) -> None:
        command = ["/usr/sbin/mosquitto", "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.said = queue.Queue()
        self._pump = threading.Thread(target=self._read)
        self._pump.start()
        while "running" not in (line := self.said.get(timeout=10)):
            assert line, f"mosquitto ended with status {self.process.wait()}"

    def stop(self) -> None:
        if self.process is None or self._pump is None:
            return
        for _ in range(10):
            # Just after "running", mosquitto 2.0.11 sets its run flag and so forgets a signal that came before.
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)
                break
        self._pump.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None

    def log(self) -> list[str]:
        """Every line said since the last call."""
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self.said.get_nowait())
        return lines

    def client_files(self, name: str, now: int | None = None) -> tuple[Path, Path, int]:
        """A certificate for `name` from the CA: (certificate, key, serial)."""
        key = certificates.new_key()
        issued = self.ca.issue_device(name, key.public_key(), now or int(time.time()))
        folder = self.folder.parent / "clients"
        folder.mkdir(exist_ok=True)
        stem = hashlib.sha256(issued.pem.encode()).hexdigest()[:12]
        (folder / f"{stem}.pem").write_text(issued.pem)
        (folder / f"{stem}.key").write_bytes(certificates.private_pem(key))
        return folder / f"{stem}.pem", folder / f"{stem}.key", issued.serial

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.put(line)
        self.said.put("")
