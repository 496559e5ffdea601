"""Two certificates that tell whether the broker does what its files say: one that must get in, one that must not.

An attempt is three MQTT 5 packets over a real TLS connection, spoken by hand: each step has a deadline, nothing is
retried behind our back, and no thread or socket is left.
"""

from __future__ import annotations

import socket
import ssl
import time
from enum import Enum
from pathlib import Path

CONNECT, CONNACK, PUBLISH_QOS1, PUBACK, DISCONNECT = 0x10, 0x20, 0x32, 0x40, 0xE0
CLEAN_START = 0x02
KEEPALIVE_S = 30
FIRST_FAILURE = 0x80  # reason codes from here on are refusals
MAX_PACKET = 64 * 1024


class Outcome(Enum):
    """What a canary met."""

    ADMITTED = "it was let in and could publish"
    DENIED = "it was let in and could not publish"
    REFUSED = "it was not let in"
    UNREACHABLE = "nobody answered"


class Canary:
    """One attempt after another with one certificate."""

    def __init__(self, host: str, port: int, ca_file: Path, certificate: Path, key: Path, timeout_s: float = 5) -> None:
        self._address = (host, port)
        self._timeout_s = timeout_s
        self._context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file))
        # Only the device CA is trusted here, and it makes server certificates for us alone; the broker may well listen
        # on an address that its certificate does not hold.
        self._context.check_hostname = False
        self._context.load_cert_chain(certificate, key)

    def attempt(self, topic: str) -> Outcome:
        """Connect, publish one empty message to `topic` at QoS 1, and go."""
        deadline = time.monotonic() + self._timeout_s
        try:
            plain = socket.create_connection(self._address, timeout=self._timeout_s)
        except OSError:
            return Outcome.UNREACHABLE
        admitted = False
        try:
            with plain, self._context.wrap_socket(plain) as stream:
                # TLS 1.3: the broker's no to our certificate arrives only after our side of the handshake has ended.
                stream.sendall(_connect("canary"))
                kind, body = _packet(stream, deadline)
                if kind != CONNACK or len(body) < 2 or body[1] >= FIRST_FAILURE:
                    return Outcome.REFUSED
                admitted = True
                stream.sendall(_publish(topic))
                kind, body = _packet(stream, deadline)
                stream.sendall(bytes([DISCONNECT, 0]))
        except TimeoutError:
            return Outcome.DENIED if admitted else Outcome.UNREACHABLE
        except (OSError, EOFError):
            return Outcome.DENIED if admitted else Outcome.REFUSED
        acknowledged = kind == PUBACK and len(body) >= 2 and (len(body) == 2 or body[2] < FIRST_FAILURE)
        return Outcome.ADMITTED if acknowledged else Outcome.DENIED


def _connect(client_id: str) -> bytes:
    head = _text("MQTT") + bytes([5, CLEAN_START]) + KEEPALIVE_S.to_bytes(2) + b"\0"
    return _framed(CONNECT, head + _text(client_id))


def _publish(topic: str) -> bytes:
    return _framed(PUBLISH_QOS1, _text(topic) + b"\0\1" + b"\0")


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


def _framed(kind: int, body: bytes) -> bytes:
    assert len(body) < 128, "our own packets are short"
    return bytes([kind, len(body)]) + body


def _packet(stream: ssl.SSLSocket, deadline: float) -> tuple[int, bytes]:
    """One packet: its kind without flags, and its body. Raises EOFError, TimeoutError, OSError."""
    kind = _exactly(stream, 1, deadline)[0] & 0xF0
    length = shift = 0
    while True:
        byte = _exactly(stream, 1, deadline)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 21:
            raise EOFError
    if length > MAX_PACKET:
        raise EOFError
    return kind, _exactly(stream, length, deadline)


def _exactly(stream: ssl.SSLSocket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        stream.settimeout(left)
        piece = stream.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
