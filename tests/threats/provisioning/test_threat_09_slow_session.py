from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from provisioning_support import NOW
from provisioning_support import _Server as Server

from provisioning.authority import ca
from provisioning.authority.ca import DeviceCa
from provisioning.device.https import HttpsConnection, Pace, ServerUnreachableError, parse_url, pinned_context

PACE = Pace(connect_s=2, silence_s=0.5, total_s=1.5, blob_total_s=1.5, min_bytes_per_s=1000, window_s=0.5)
DRIP_S = 0.02


@contextlib.contextmanager
def dripping(folder: Path, answer: Callable[[], Iterator[bytes]]) -> Iterator[tuple[str, str]]:
    """A server that sends each piece by itself, 50 a second, until its peer goes."""
    authority, key = DeviceCa.create("slow", NOW), ca.new_key()
    (folder / "s.pem").write_text(authority.issue_server(["127.0.0.1"], key.public_key(), NOW).pem)
    (folder / "s.key").write_bytes(ca.private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.pem", folder / "s.key")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                for piece in answer():
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(DRIP_S)

        def log_message(self, *_words: object) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    server.context = context
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", authority.pem
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def header() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        yield b"a"


def body() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    while True:
        yield b"a"


def brisk_but_endless() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        yield b"a" * 100


def silent() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    time.sleep(1.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(header, "slower than 1000 bytes a second", id="a header, byte by byte"),
        pytest.param(body, "slower than 1000 bytes a second", id="a body, byte by byte"),
        pytest.param(brisk_but_endless, "the deadline passed", id="fast enough, and without end"),
        pytest.param(silent, "silent for", id="nothing at all after the header"),
    ],
)
def test_threat_09_a_server_that_crawls_is_given_up_within_the_deadline(
    tmp_path: Path, answer: Callable[[], Iterator[bytes]], said: str
) -> None:
    with dripping(tmp_path, answer) as (url, ca_pem):
        connection = HttpsConnection(parse_url(url), pinned_context(ca_pem), PACE)
        began = time.monotonic()
        with pytest.raises(ServerUnreachableError, match=said) as caught:
            connection.exchange("GET", "/", max_bytes=10_000_000)
        assert time.monotonic() - began < PACE.total_s + 1
        assert caught.value.retry
        connection.close()


def test_threat_09_an_endless_answer_is_cut_at_its_bound(tmp_path: Path) -> None:
    with dripping(tmp_path, brisk_but_endless) as (url, ca_pem):
        connection = HttpsConnection(parse_url(url), pinned_context(ca_pem), PACE)
        with pytest.raises(Exception, match="more than the 500 bytes allowed"):
            connection.exchange("GET", "/", max_bytes=500)
        connection.close()
