"""One HTTPS connection to the server: pinned CA, bearer token, bounded answers, errors in the server's own words."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from fleet_client.contexts import Context, ContextError
from fleet_protocol.wire.errors import Exit, RoadsteadError, UnreachableError

MAX_ANSWER_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 30.0

EXIT_OF_STATUS = {
    400: Exit.USAGE,
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    422: Exit.OTHER,
}


class ServerSaidError(RoadsteadError):
    """The server refused; phase, component and code are its own."""

    def __init__(self, status: int, said: Mapping[str, Any]) -> None:
        reason = str(said.get("cause") or f"HTTP status {status}")
        super().__init__(
            reason,
            element=str(said.get("element", "")),
            retry=bool(said.get("retry", False)),
            hint=str(said.get("next", "")),
        )
        self.status = status
        self.phase = str(said.get("phase") or "asking the server")
        self.component = str(said.get("component") or "server")
        self.code = str(said.get("code") or "E0400")
        self.exit_status = Exit.TRUST if self.code.startswith("E02") else EXIT_OF_STATUS.get(status, Exit.OTHER)


class ServerNotTrustedError(UnreachableError):
    """Somebody answers, but not with a certificate of the pinned CA. Trying again is of no use."""

    code = "E0309"
    exit_status = Exit.TRUST


def server_address(url: str) -> tuple[str, int]:
    """Host and port of `https://HOST:PORT`. Raises ContextError for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme != "https" or parts.path.strip("/") or parts.query or parts.username:
        raise ContextError("the server's address must be https://HOST:PORT", element=url)
    return host, port


def pinned_tls(ca_file: Path) -> ssl.SSLContext:
    """TLS that believes this CA and no other. Raises ContextError if the file holds none."""
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError as error:
        raise ContextError("the CA file holds no certificate (PEM)", element=str(ca_file)) from error
    except OSError as error:
        raise ContextError(f"cannot read the CA file: {error.strerror}", element=str(ca_file)) from error


class Connection:
    """Keeps one connection open and reconnects once when the server closed it in between."""

    def __init__(self, context: Context) -> None:
        host, port = server_address(context.server)
        self._where = context.server
        tls = pinned_tls(context.ca_file)
        self._http = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
        self._token = context.token()

    @property
    def token(self) -> str:
        """The operator's token, for parts that speak to the same server by themselves (image push)."""
        return self._token

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        _, answer = self.raw(method, path, data, {"Content-Type": "application/json"} if data is not None else {})
        try:
            return json.loads(answer) if answer else None
        except (ValueError, RecursionError) as error:
            raise UnreachableError(
                "the answer is not JSON: something else than fleet-server answers there", element=self._where
            ) from error

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and bytes. Raises ServerSaidError for 400 and above, UnreachableError when nobody answers."""
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        for attempt in (1, 2):
            try:
                self._http.request(method, path, body, sent)
                answer = self._http.getresponse()
                data = answer.read(MAX_ANSWER_BYTES + 1)
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                self._http.close()
                # A connection that was idle too long is closed by the server; only reading may be repeated blindly.
                if attempt == 2 or method not in ("GET", "HEAD"):
                    raise UnreachableError(
                        f"the connection was closed: {error}", element=self._where, retry=True
                    ) from error
            except ssl.SSLCertVerificationError as error:
                raise ServerNotTrustedError(
                    f"its certificate does not stand under the pinned CA: {error.verify_message}",
                    element=self._where,
                    hint="compare the context's CA file with ca/ca.pem of the server",
                ) from error
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                raise UnreachableError(
                    _why(error), element=self._where, retry=True, hint="is fleet-server running?"
                ) from error
        if len(data) > MAX_ANSWER_BYTES:
            raise UnreachableError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes", element=path)
        if answer.status >= 400:
            raise ServerSaidError(answer.status, _error_in(data))
        return answer.status, data

    def close(self) -> None:
        """Close the connection; a later call opens it again."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"the answer is not HTTP ({type(error).__name__})"


def _error_in(data: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
