"""HTTPS to the server with nothing but the standard library, for a host whose clock may be wrong and whose peer may be
slow.

* The chain and the name are checked against one pinned CA; dates are not checked by OpenSSL (a host may believe
  that it is 1970) but against a floor that the caller brings: a certificate that ended before a time that we know
  has passed is refused.
* Every transfer is paced: a socket that stays silent, a rate below the floor, or a deadline that passed ends it,
  also in the middle of a header or of a TLS record (slow retrieval).
* Redirects are never followed and proxies never asked.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, Exit, RoadsteadError, TrustError, UnreachableError

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME; the ssl module has no name for it
MAX_ERROR_BYTES = 16 * 1024
CHUNK = 64 * 1024


class ServerUnreachableError(UnreachableError):
    """No connection, or one that broke, stayed silent or crawled. Trying again can help."""

    phase = "talking to the server"
    component = "https"
    code = "E0301"


class ServerRefusedError(RoadsteadError):
    """The server answered, and its answer was no."""

    phase = "talking to the server"
    component = "server"
    code = "E0302"

    def __init__(self, status: int, reason: str, *, element: str = "", server_code: str = "", hint: str = "") -> None:
        super().__init__(reason, element=element, retry=status == 429 or status >= 500, hint=hint)
        self.status = status
        self.server_code = server_code
        if status in (401, 403):
            self.exit_status = Exit.NOT_ALLOWED
        elif status == 404:
            self.exit_status = Exit.NOT_FOUND
        elif status == 409:
            self.exit_status = Exit.CONFLICT


class Pace(NamedTuple):
    """How slow a peer may be. Times in seconds; the rate counts in every window of `window_s` after the first byte."""

    connect_s: float = 20.0
    silence_s: float = 30.0
    total_s: float = 120.0  # for one small answer, headers included
    blob_total_s: float = 6 * 3600.0
    min_bytes_per_s: float = 256.0
    window_s: float = 60.0


DEFAULT_PACE = Pace()


class Url(NamedTuple):
    """Where the server is."""

    host: str
    port: int


def parse_url(text: str) -> Url:
    """Host and port of `https://host[:port]`. Raises DocumentInvalidError for anything else."""
    try:
        parts = urlsplit(text)
        port = parts.port or 443
    except ValueError as error:
        raise DocumentInvalidError(f"not a server address: {error}", element=text[:80]) from error
    extra = parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/")
    if parts.scheme != "https" or not parts.hostname or extra:
        raise DocumentInvalidError("wants https://host or https://host:port", element=text[:80])
    return Url(parts.hostname, port)


class _PacedSocket(ssl.SSLSocket):
    """An SSLSocket whose reads obey a pace. http.client reads headers and bodies through `recv_into` alone."""

    pace: Pace = DEFAULT_PACE
    deadline: float = float("inf")
    window_start: float = 0.0
    window_bytes: int = 0

    def begin(self, deadline: float) -> None:
        """Start counting for one answer."""
        self.deadline = deadline
        self.window_start = time.monotonic()
        self.window_bytes = 0

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        now = time.monotonic()
        left = self.deadline - now
        if left <= 0:
            raise TimeoutError("the deadline passed")
        # OpenSSL hands out whole records: the timeout holds for a record, however many reads it takes.
        self.settimeout(min(self.pace.silence_s, left))
        try:
            count = super().recv_into(buffer, nbytes, flags)
        except TimeoutError as error:
            silent = f"silent for {self.pace.silence_s:.0f} s"
            raise TimeoutError(silent if self.pace.silence_s < left else "the deadline passed") from error
        self.window_bytes += count
        now = time.monotonic()
        span = now - self.window_start
        if span >= self.pace.window_s:
            if self.window_bytes < self.pace.min_bytes_per_s * span:
                raise TimeoutError(f"slower than {self.pace.min_bytes_per_s:.0f} bytes a second")
            self.window_start, self.window_bytes = now, 0
        return count


def pinned_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts exactly `ca_pem`; checks chain, purpose and name, leaves dates to the caller."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise TrustError(f"not a CA certificate: {error}", element="ca.pem") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= NO_CHECK_TIME
    context.sslsocket_class = _PacedSocket
    return context


def unverified_context() -> ssl.SSLContext:
    """For fetching the CA, which is compared with a pin, and for nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _PacedSocket
    return context


class Response:
    """One answer whose body has not been read. Close it, or the connection cannot be used again."""

    def __init__(self, raw: http.client.HTTPResponse, where: str, hang_up: Callable[[], None]) -> None:
        self._raw = raw
        self._where = where
        self._hang_up = hang_up
        self.status = raw.status
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in raw.getheaders()}

    def read(self, at_most: int = CHUNK) -> bytes:
        """Some bytes, at most `at_most`; b"" at the end. Raises ServerUnreachableError if it stops short or crawls."""
        try:
            data = self._raw.read1(at_most)
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachableError(_words(error), element=self._where, retry=True) from error
        if not data and at_most and self._raw.length:  # http.client's read1 does not tell a short body by itself
            raise ServerUnreachableError(
                f"the connection ended {self._raw.length} bytes too early", element=self._where, retry=True
            )
        return data

    def read_all(self, max_bytes: int) -> bytes:
        """The whole body. Raises DocumentInvalidError as soon as it is longer than `max_bytes`."""
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise DocumentInvalidError(f"{announced} bytes, at most {max_bytes} are allowed", element=self._where)
        parts: list[bytes] = []
        size = 0
        while data := self.read(min(CHUNK, max_bytes + 1 - size)):
            parts.append(data)
            size += len(data)
            if size > max_bytes:
                raise DocumentInvalidError(f"more than the {max_bytes} bytes allowed", element=self._where)
        return b"".join(parts)

    def close(self) -> None:
        """Give the rest up: with some of it unread, the connection is of no further use."""
        unread = not self._raw.isclosed() and self._raw.length != 0
        self._raw.close()
        if unread:
            self._hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class HttpsConnection:
    """One connection, kept open between requests, made again when the server has closed it."""

    def __init__(self, url: Url, context: ssl.SSLContext, pace: Pace, *, time_floor: int = 0) -> None:
        self._url = url
        self._context = context
        self._pace = pace
        self._time_floor = time_floor
        self._http: http.client.HTTPSConnection | None = None
        self._fresh = True

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        total_s: float | None = None,
    ) -> Response:
        """Send one request and read the answer's head. Raises ServerUnreachableError."""
        deadline = time.monotonic() + (total_s or self._pace.total_s)
        sent = {"Accept": "application/json", "User-Agent": "roadstead", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        while True:
            try:
                http_connection = self._open()
                _paced(http_connection).begin(deadline)
                http_connection.request(method, path, body=body, headers=sent)
                answer = http_connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                again = not self._fresh and isinstance(error, ConnectionError | http.client.BadStatusLine)
                self.close()
                if again:  # a kept connection that the server had closed meanwhile
                    continue
                element = f"{self._url.host}:{self._url.port}"
                raise ServerUnreachableError(_words(error), element=element, retry=True) from error
            self._fresh = False
            if answer.will_close:
                # the response keeps the socket; only our handle on the connection goes
                self._http = None
            return Response(answer, path, self.close)

    def exchange(
        self, method: str, path: str, *, body: object = None, headers: Mapping[str, str] | None = None, max_bytes: int
    ) -> bytes:
        """A whole small exchange; the body of a 2xx answer. Raises ServerRefusedError for any other status."""
        data = None if body is None else strict_json.dumps(body)
        with self.request(method, path, body=data, headers=headers) as response:
            if not 200 <= response.status < 300:
                raise refused(response, path)
            return response.read_all(max_bytes)

    def close(self) -> None:
        """Hang up."""
        if self._http is not None:
            self._http.close()
            self._http = None
        self._fresh = True

    def _open(self) -> http.client.HTTPSConnection:
        if self._http is not None and self._http.sock is not None:
            return self._http
        self.close()
        made = http.client.HTTPSConnection(
            self._url.host, self._url.port, timeout=self._pace.connect_s, context=self._context
        )
        try:
            made.connect()
            socket = _paced(made)
            socket.pace = self._pace
            self._check_dates(socket)
        except BaseException:
            made.close()
            raise
        self._http = made
        return made

    def _check_dates(self, socket: ssl.SSLSocket) -> None:
        """OpenSSL was told to ignore dates; here they are held against a time that is known to have passed."""
        peer = socket.getpeercert() or {}
        ends = peer.get("notAfter")
        if isinstance(ends, str) and ssl.cert_time_to_seconds(ends) < self._time_floor:
            raise ssl.SSLCertVerificationError(f"the server's certificate ended on {ends}")


def refused(response: Response, where: str) -> ServerRefusedError:
    """The server's error body as an exception; whatever is no such body is named by its status alone."""
    reason, code, hint = f"HTTP status {response.status}", "", ""
    try:
        fields = json.loads(response.read_all(MAX_ERROR_BYTES))
        reason, code, hint = str(fields["cause"])[:400], str(fields["code"])[:16], str(fields.get("next", ""))[:200]
    except (RoadsteadError, ValueError, KeyError, TypeError, AttributeError):
        pass  # a proxy's page, or nothing at all
    return ServerRefusedError(response.status, reason, element=where, server_code=code, hint=hint)


def _paced(connection: http.client.HTTPSConnection) -> _PacedSocket:
    socket = connection.sock
    if not isinstance(socket, _PacedSocket):
        raise ConnectionError("not connected")
    return socket


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not acceptable: {error.verify_message if hasattr(error, 'verify_message') else error}"
        )
    if isinstance(error, TimeoutError):
        return f"too slow: {error}"
    return str(error) or type(error).__name__
