"""Opening the connection to the broker: name, TCP, TLS, without ever stopping the keeper's loop.

Name resolution and handshakes block, so one short-lived thread does them and hands the socket over. It touches
nothing of the keeper's. Certificates are checked for chain and name, not against the host's clock, which may stand at
1970; instead the broker's certificate must not have expired before the clock's floor, the latest time that was ever
signed for us.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from edge_daemon.keeper.reactor import Reactor
from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import RoadsteadError, UnreachableError

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME
STEP_SECONDS = 10.0
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class ExpiredPeerError(UnreachableError):
    """The broker's certificate ended before a time that we know has passed."""

    code = "E0303"


class UntrustedPeerError(UnreachableError):
    """The broker's certificate is not of our CA, or of another name."""

    code = "E0304"


def tls_context(layout: Layout) -> ssl.SSLContext:
    """Mutual TLS with the device's own key. Raises OSError or ssl.SSLError for files that are missing or no keys."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(layout.ca)
    context.load_cert_chain(layout.device_cert, layout.device_key)
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    return context


def check_dates(sock: ssl.SSLSocket, floor: int) -> None:
    """Raises ExpiredPeerError if the peer's certificate ended before `floor`."""
    certificate = sock.getpeercert() or {}
    ends = certificate.get("notAfter")
    if not isinstance(ends, str) or seconds_of(ends) < floor:
        raise ExpiredPeerError(f"the broker's certificate ended on {ends or 'no date'}", element="broker")


def seconds_of(text: str) -> int:
    """`Jan  5 09:34:43 2028 GMT` since 1970.

    As ssl.cert_time_to_seconds, without strptime, which would stay in memory.
    """
    month, day, clock, year, zone = text.split()
    hour, minute, second = clock.split(":")
    if zone != "GMT":
        raise ValueError(f"not a date of a certificate: {text}")
    number = MONTHS.index(month) + 1
    return int(datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=UTC).timestamp())


class Dial:
    """One attempt. `done` is called in the loop, exactly once, unless the attempt is cancelled."""

    def __init__(self, layout: Layout, host: str, port: int, floor: int, reactor: Reactor) -> None:
        self.socket: ssl.SSLSocket | None = None
        self.error: RoadsteadError | None = None
        self.finished = False
        self._reactor = reactor
        self._cancelled = False
        self._lock = threading.Lock()
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        reactor.watch(self._reading, self._ready)
        self._thread = threading.Thread(target=self._run, args=(layout, host, port, floor), daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Whether its thread still waits for the network."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Nobody wants it any more; what it may still open is closed by itself."""
        with self._lock:
            self._cancelled = True
            if self.socket is not None:
                self.socket.close()
        self._forget()

    def take(self) -> ssl.SSLSocket | RoadsteadError:
        """The outcome, once it is finished."""
        self._thread.join()
        taken, self.socket = self.socket, None
        return taken if taken is not None else self.error or UnreachableError("no connection", element="broker")

    def _ready(self, _mask: int) -> None:
        self.finished = True
        self._forget()

    def _forget(self) -> None:
        if self._reading >= 0:
            self._reactor.unwatch(self._reading)
            os.close(self._reading)
            self._reading = -1

    def _run(self, layout: Layout, host: str, port: int, floor: int) -> None:
        made: ssl.SSLSocket | None = None
        try:
            made = _connect(layout, host, port, floor)
        except RoadsteadError as error:
            self.error = error
        except ssl.SSLCertVerificationError as error:
            self.error = UntrustedPeerError(
                f"the broker's certificate is not accepted: {error.verify_message}", element=host
            )
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else None
            self.error = UnreachableError(words or str(error) or "no answer", element=f"{host}:{port}", retry=True)
        with self._lock:
            self.socket = made
            if self._cancelled and made is not None:
                made.close()
        with suppress(OSError):
            os.write(self._writing, b"\0")
        os.close(self._writing)


def _connect(layout: Layout, host: str, port: int, floor: int) -> ssl.SSLSocket:
    context = tls_context(layout)
    # As text, Python would load its tables for international names, 0.5 MB, and keep them. Both take bytes as well.
    name: Any = host.encode("ascii")
    raw = socket.create_connection((name, port), timeout=STEP_SECONDS)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped = context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise
    try:
        check_dates(wrapped, floor)
    except BaseException:
        wrapped.close()
        raise
    return wrapped
