"""One HTTPS connection to the server: pinned CA, bearer token, bounded answers, errors in the server's own words."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from fleet_client.contexts import Context
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
        reason = str(said.get("reason") or f"HTTP status {status}")
        super().__init__(
            reason,
            element=str(said.get("element", "")),
            retry=bool(said.get("retry", False)),
            hint=str(said.get("hint", "")),
        )
        self.status = status
        self.phase = str(said.get("phase") or "asking the server")
        self.component = str(said.get("component") or "server")
        self.code = str(said.get("code") or "E0400")
        self.exit_status = Exit.TRUST if self.code.startswith("E02") else EXIT_OF_STATUS.get(status, Exit.OTHER)


class Connection:
    """Keeps one connection open and reconnects once when the server closed it in between."""

    def __init__(self, context: Context) -> None:
        parts = urlsplit(context.server)
        if parts.scheme != "https" or not parts.hostname:
            raise UnreachableError("the server's address must be https://HOST:PORT", element=context.server)
        self._where = context.server
        try:
            tls = ssl.create_default_context(cafile=str(context.ca_file))
        except OSError as error:
            raise UnreachableError(
                f"cannot read the CA file {context.ca_file}: {error}", element=context.server
            ) from error
        self._http = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=TIMEOUT_S, context=tls)
        self._token = context.token()

    @property
    def token(self) -> str:
        """The operator's token, for parts that speak to the same server by themselves (image push)."""
        return self._token

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        _, answer = self.raw(method, path, data, {"Content-Type": "application/json"} if data is not None else {})
        return json.loads(answer) if answer else None

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
                raise UnreachableError(
                    f"its certificate does not stand under the pinned CA: {error.verify_message}", element=self._where
                ) from error
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                raise UnreachableError(
                    str(error), element=self._where, retry=True, hint="is fleet-server running?"
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


def _error_in(data: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}
