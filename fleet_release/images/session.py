"""HTTP to one registry. Credentials go to it and to its realm; redirects never carry them elsewhere."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.images.credentials import Credentials, Lookup
from fleet_release.images.errors import RegistryRefusedError, RegistryUnreachableError
from fleet_release.images.reference import HUB, HUB_REALM, Reference

MAX_REDIRECTS = 5
MAX_TOKEN_BYTES = 64 * 1024
TIMEOUT = httpx2.Timeout(30.0)
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"\\]*)"')


class RegistrySession:
    """Answers of one repository. Credentials go to the registry and to its realm, and nowhere else (row 34)."""

    def __init__(
        self,
        reference: Reference,
        lookup: Lookup,
        *,
        tls: ssl.SSLContext | None = None,
        realms: tuple[str, ...] = (),
    ) -> None:
        self._reference = reference
        self._lookup = lookup
        self._realms = realms
        self._authorization = ""
        self._client = httpx2.Client(
            follow_redirects=False, timeout=TIMEOUT, verify=tls or ssl.create_default_context(), trust_env=True
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx2.Response]:
        """A streaming answer with status 200. Raises RegistryRefusedError or RegistryUnreachableError."""
        url = f"{self._reference.url}/v2/{self._reference.repository}{path}"
        response = self._send(url, dict(headers or {}))
        try:
            if response.status_code == 401:
                self._authenticate(response)
                response.close()
                response = self._send(url, dict(headers or {}))
            if response.status_code != 200:
                raise self._refused(response)
            yield response
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    def _send(self, url: str, headers: dict[str, str]) -> httpx2.Response:
        home = _origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            sent = dict(headers)
            if self._authorization and _origin(url) == home:
                sent["Authorization"] = self._authorization
            response = self._request(url, sent)
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            target = urljoin(url, response.headers.get("location", ""))
            response.close()
            if urlsplit(target).scheme != "https" and _origin(target) != home:
                raise RegistryRefusedError("redirects to an address without TLS", element=str(self._reference))
            url = target
        raise RegistryRefusedError(f"redirects more than {MAX_REDIRECTS} times", element=str(self._reference))

    def _request(self, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        # A URL's own user and password would become a header of their own.
        parts = urlsplit(url)
        if parts.username or parts.password or not parts.hostname:
            raise RegistryRefusedError("redirects to an address that is not acceptable", element=str(self._reference))
        try:
            return self._client.send(self._client.build_request("GET", url, headers=dict(headers)), stream=True)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error

    def _authenticate(self, response: httpx2.Response) -> None:
        challenge = response.headers.get("www-authenticate", "")
        credentials = self._lookup(self._reference.registry)
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic" and credentials and not self._authorization:
            self._authorization = _basic(credentials)
        elif scheme == "bearer":
            self._authorization = f"Bearer {self._token(challenge, credentials)}"
        else:
            raise self._refused(response)

    def _token(self, challenge: str, credentials: Credentials | None) -> str:
        said = {k.lower(): v for k, v in _PARAMETER.findall(challenge)}
        realm = said.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and _origin(realm) != _origin(self._reference.url):
            raise RegistryRefusedError(
                f"wants tokens from {realm[:100]!r}, which has no TLS", element=str(self._reference)
            )
        headers = {}
        if credentials:
            if not self._may_have_credentials(realm):
                text = f"wants your credentials sent to {parts.hostname}, which is not this registry's own host"
                hint = f"if that is right, allow it: --realm {parts.hostname}"
                raise RegistryRefusedError(text, element=str(self._reference), hint=hint)
            headers["Authorization"] = _basic(credentials)
        query = {"service": said.get("service", ""), "scope": f"repository:{self._reference.repository}:pull"}
        url = str(httpx2.URL(realm).copy_merge_params({k: v for k, v in query.items() if v}))
        response = self._request(url, headers)
        try:
            if response.status_code != 200:
                raise self._refused(response)
            answer = strict_json.loads(
                bounded(response, MAX_TOKEN_BYTES, str(self._reference)), max_bytes=MAX_TOKEN_BYTES
            )
        except DocumentInvalidError as error:
            raise RegistryRefusedError(
                f"its token is not readable: {error.reason}", element=str(self._reference)
            ) from error
        finally:
            response.close()
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,16384}", token):
            raise RegistryRefusedError("gave no token", element=str(self._reference))
        return token

    def _may_have_credentials(self, realm: str) -> bool:
        host = (urlsplit(realm).hostname or "").lower()
        if _origin(realm) == _origin(self._reference.url) or host in self._realms:
            return True
        if self._reference.registry == HUB:
            return host == HUB_REALM
        own = (urlsplit(self._reference.url).hostname or "").lower()
        # registry.example.com may use example.com, and the other way about, but not a neighbour.
        return (own.endswith(f".{host}") and host.count(".") >= 1) or (host.endswith(f".{own}") and own.count(".") >= 1)

    def _refused(self, response: httpx2.Response) -> RegistryRefusedError:
        status = response.status_code
        words = {
            401: "wants other credentials",
            403: "does not allow it",
            404: "does not have it",
            429: "asks to slow down",
        }
        text = words.get(status, f"answered with status {status}")
        hint = "log in to the registry with your container tool" if status in (401, 403) else ""
        retry = status == 429 or status >= 500
        return RegistryRefusedError(f"the registry {text}", element=str(self._reference), hint=hint, retry=retry)

    def _unreachable(self, error: Exception) -> RegistryUnreachableError:
        reason = re.sub(r"^\[Errno -?[0-9]+\] ", "", str(error)) or type(error).__name__
        hint = "to take the image from a file instead: fleet release --image NAME=FILE"
        return RegistryUnreachableError(reason.lower(), element=str(self._reference), retry=True, hint=hint)


def bounded(response: httpx2.Response, most: int, where: str) -> bytes:
    """The body, when it is at most `most` bytes."""
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > most:
            raise RegistryRefusedError(f"answers with more than {most} bytes", element=where)
    return bytes(data)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts: Any = urlsplit(url)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    try:
        return parts.scheme, (parts.hostname or "").lower(), parts.port or usual
    except ValueError:
        return "", "", None


def _basic(credentials: Credentials) -> str:
    import base64

    return f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"
