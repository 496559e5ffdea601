"""The server as a device meets it, over real HTTPS on the loopback interface: sessions, time, metadata, blobs, ranges.

A test makes it fail in one place: `faults` holds what the next answers for a path do instead.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme
from trust_support import World

from fleet_protocol.trust.keys import PublicKey
from provisioning.proof import session_message

Fault = Callable[["Handler", bytes], None]


class EdgeServer:
    """One server; `blobs` by digest, `values` by hash."""

    def __init__(self, world: World, device_id: str, device_key: PublicKey) -> None:
        self.world = world
        self.device_id = device_id
        self.device_key = device_key
        self.blobs: dict[str, bytes] = {}
        self.values: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[tuple[str, str]] = []  # path, Range
        self.nonces: set[str] = set()
        self.tokens: set[str] = set()
        authority = trustme.CA()
        self.ca_pem = authority.cert_pem.bytes().decode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._http.edge = self  # type: ignore[attr-defined]
        self.url = f"https://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def fetched(self, part: str) -> list[str]:
        """Ranges with which paths that hold `part` were asked for."""
        return [ranged for path, ranged in self.asked if part in path]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    @property
    def edge(self) -> EdgeServer:
        return self.server.edge  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: object) -> None:
        """Nothing: tests read `asked`."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            return  # a client that hung up, or was killed

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        edge = self.edge
        edge.asked.append((self.path, ""))
        if self.path == "/v1/device/challenge":
            nonce = secrets.token_urlsafe(32)
            edge.nonces.add(nonce)
            self.answer({"nonce": nonce})
        elif self.path == "/v1/device/session":
            self._session(body)
        elif self.path == "/v1/time":
            self.reply(edge.world.time_statement(body["nonce"], edge.world.time.now))
        else:
            self.answer({"cause": "no such route", "code": "E0000"}, 404)

    def _session(self, body: dict[str, Any]) -> None:
        import base64

        edge = self.edge
        message = session_message(edge.device_id, body["nonce"])
        known = body["nonce"] in edge.nonces
        edge.nonces.discard(body["nonce"])
        if not known or not edge.device_key.verifies(base64.b64decode(body["signature"]), message):
            self.answer({"cause": "not this device's signature", "code": "E0000"}, 401)
            return
        token = secrets.token_urlsafe(32)
        edge.tokens.add(token)
        self.answer({"token": token, "expires_in_s": 3600})

    def do_GET(self) -> None:
        edge = self.edge
        edge.asked.append((self.path, self.headers.get("Range", "")))
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in edge.tokens:
            self.answer({"cause": "no session", "code": "E0000"}, 401)
            return
        data = self._find(self.path)
        if data is None:
            self.answer({"cause": "not here", "code": "E0000"}, 404)
            return
        for part, fault in list(edge.faults.items()):
            if part in self.path:
                fault(self, data)
                return
        self.reply(data)

    def _find(self, path: str) -> bytes | None:
        from urllib.parse import unquote

        path = unquote(path)
        world = self.edge.world
        if path.startswith("/tuf/metadata/"):
            return world.get_metadata(path.removeprefix("/tuf/metadata/").removesuffix(".json"))
        if path.startswith("/tuf/targets/"):
            return world.get_target(path.removeprefix("/tuf/targets/"))
        if path.startswith("/v1/values/"):
            return self.edge.values.get(path.removeprefix("/v1/values/"))
        return self.edge.blobs.get(path.rpartition("/")[2])

    def answer(self, value: object, status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), status)

    def reply(self, data: bytes, status: int = 200) -> None:
        """The whole of `data`, or the range that was asked for."""
        first = self.first_byte()
        if first:
            status = 206
        self.head(len(data) - first, status, f"bytes {first}-{len(data) - 1}/{len(data)}" if first else "")
        self.wfile.write(data[first:])

    def first_byte(self) -> int:
        wanted = self.headers.get("Range", "")
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0

    def head(self, length: int, status: int = 200, ranged: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if ranged:
            self.send_header("Content-Range", ranged)
        self.end_headers()


def breaks_after(count: int) -> Fault:
    """Each answer ends after `count` bytes, whatever was announced."""

    def fault(handler: Handler, data: bytes) -> None:
        first = handler.first_byte()
        ranged = f"bytes {first}-{len(data) - 1}/{len(data)}" if first else ""
        handler.head(len(data) - first, 206 if first else 200, ranged)
        handler.wfile.write(data[first : first + count])
        handler.close_connection = True

    return fault


def trickles(chunk: int, every_s: float) -> Fault:
    """A slow answer."""

    def fault(handler: Handler, data: bytes) -> None:
        first = handler.first_byte()
        ranged = f"bytes {first}-{len(data) - 1}/{len(data)}" if first else ""
        handler.head(len(data) - first, 206 if first else 200, ranged)
        for at in range(first, len(data), chunk):
            handler.wfile.write(data[at : at + chunk])
            time.sleep(every_s)

    return fault


def instead(other: bytes) -> Fault:
    """Other bytes under the same name."""

    def fault(handler: Handler, _: bytes) -> None:
        handler.reply(other)

    return fault


def endless(sent: list[int]) -> Fault:
    """Bytes without end; `sent` counts what was written."""

    def fault(handler: Handler, _: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(b"x" * 65536)
            sent.append(65536)

    return fault
