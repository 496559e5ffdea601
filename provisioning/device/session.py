"""A device's session over HTTPS: it proves itself by signing the server's nonce, and fetches what a desired state
needs.

The key stays with whoever owns it: `sign` is a callable, so that an unprivileged worker can ask its parent. Nothing
that comes back is trusted here; the caller verifies signatures, digests and sizes. What is promised: at most the
stated number of bytes, within the pace, from a server that the pinned CA vouches for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import DIGEST_PATTERN, MAX_MANIFEST_BYTES, MAX_VALUE_BYTES, SHA256_PATTERN, matches
from fleet_protocol.wire.errors import DocumentInvalidError
from provisioning.device.https import (
    CHUNK,
    DEFAULT_PACE,
    HttpsConnection,
    Pace,
    Response,
    ServerRefusedError,
    ServerUnreachableError,
    parse_url,
    pinned_context,
    refused,
)
from provisioning.proof import session_message

MAX_SMALL = 16 * 1024
PATH_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*"
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json,"
    " application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)


class BlobStream:
    """A blob under way. `offset` is where its first byte belongs: 0 if the server did not honour the range."""

    def __init__(self, response: Response, offset: int, remaining: int | None) -> None:
        self._response = response
        self.offset = offset
        self.remaining = remaining  # bytes that the server announced; None: it did not say

    def read(self, at_most: int = CHUNK) -> bytes:
        """Some bytes, at most `at_most`; b"" at the end. Raises ServerUnreachableError if it stops short or crawls."""
        return self._response.read(at_most)

    def close(self) -> None:
        """Give the rest up."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Bearer(NamedTuple):
    token: str


class ServerClient:
    """One device's view of the server. Not for use by several threads at once; one blob at a time."""

    def __init__(
        self,
        server_url: str,
        device_id: str,
        ca_pem: str,
        sign: Callable[[bytes], bytes],
        *,
        pace: Pace = DEFAULT_PACE,
        time_floor: int = 0,
    ) -> None:
        """`sign` returns the device key's signature (ECDSA P-256 with SHA-256, DER) over the bytes that it is given.

        `time_floor` (Unix time) is a moment known to have passed: a server certificate that ended before is refused.
        """
        self._device_id = device_id
        self._sign = sign
        self._pace = pace
        self._connection = HttpsConnection(parse_url(server_url), pinned_context(ca_pem), pace, time_floor=time_floor)
        self._bearer: _Bearer | None = None

    def get_metadata(self, name: str, max_bytes: int) -> bytes:
        """TUF metadata by the name that a TUF client asks for: `timestamp`, `3.snapshot`, `2.release/cam`, `1.root`.

        Raises ServerRefusedError (`status` 404 where there is none), DocumentInvalidError (too long),
        ServerUnreachableError.
        """
        return self._get(f"/tuf/metadata/{_safe(name)}.json", max_bytes)

    def get_target(self, path: str, max_bytes: int) -> bytes:
        """A TUF target by its path with the hash prefix: `releases/cam/<sha256>.1.9.0.json`. Raises as get_metadata."""
        return self._get(f"/tuf/targets/{_safe(path)}", max_bytes)

    def get_value(self, sha256: str, max_bytes: int = MAX_VALUE_BYTES) -> bytes:
        """A configuration value. The caller checks the hash. Raises as get_metadata."""
        if not matches(SHA256_PATTERN, sha256):
            raise DocumentInvalidError("not a SHA-256 in hex", element=sha256[:80])
        return self._get(f"/v1/values/{sha256}", max_bytes)

    def get_manifest(self, repo: str, digest: str, max_bytes: int = MAX_MANIFEST_BYTES) -> bytes:
        """An image manifest or index of `apps/<app>`. The caller checks the digest. Raises as get_metadata."""
        return self._get(f"/v2/{_safe(repo)}/manifests/{_digest(digest)}", max_bytes, accept=MANIFEST_TYPES)

    def open_blob(self, repo: str, digest: str, offset: int = 0) -> BlobStream:
        """A blob from `offset` on. The caller counts and hashes, and closes. Raises as get_metadata.

        416 (nothing lies at that offset) is a ServerRefusedError like any other.
        """
        headers = {"Accept": "application/octet-stream"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        path = f"/v2/{_safe(repo)}/blobs/{_digest(digest)}"
        response = self._send(path, headers, self._pace.blob_total_s)
        try:
            start = 0
            if response.status == 206:
                start = _range_start(response.headers.get("content-range", ""))
                if start != offset:
                    raise ServerUnreachableError(
                        f"asked for bytes from {offset}, was offered bytes from {start}", element=path, retry=True
                    )
            announced = response.headers.get("content-length", "")
            return BlobStream(response, start, int(announced) if announced.isdecimal() else None)
        except BaseException:
            response.close()
            raise

    def time_statement(self, nonce: str) -> bytes:
        """The signed envelope over a TimeStatement for `nonce` (base64url, 128 bits or more); needs no session.

        The caller verifies it: signature by a listed time key, type TIME_TYPE, and the same nonce.
        """
        return self._connection.exchange("POST", "/v1/time", body={"nonce": nonce}, max_bytes=MAX_SMALL)

    def close(self) -> None:
        """Hang up. The session's token is forgotten with this object."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def post(self, path: str, body: object, max_bytes: int = MAX_SMALL) -> bytes:
        """Send a small document within the session. Raises as get_metadata."""
        data = strict_json.dumps(body)
        with self._send(path, {}, self._pace.total_s, method="POST", data=data) as response:
            return response.read_all(max_bytes)

    def _get(self, path: str, max_bytes: int, accept: str = "application/json") -> bytes:
        with self._send(path, {"Accept": accept}, self._pace.total_s) as response:
            return response.read_all(max_bytes)

    def _send(
        self, path: str, headers: dict[str, str], total_s: float, *, method: str = "GET", data: bytes | None = None
    ) -> Response:
        """An answer of status 2xx. A session that the server has forgotten (401) is made anew, once."""
        for attempt in (1, 2):
            bearer = self._bearer or self._new_session()
            sent = {**headers, "Authorization": f"Bearer {bearer.token}"}
            response = self._connection.request(method, path, body=data, headers=sent, total_s=total_s)
            if 200 <= response.status < 300:
                return response
            with response:
                error = refused(response, path)
            if error.status != 401 or attempt == 2:
                raise error
            self._bearer = None
        raise AssertionError("not reached")

    def _new_session(self) -> _Bearer:
        asked = self._call("/v1/device/challenge", {"device_id": self._device_id})
        nonce = _text(asked, "nonce", 86)
        signature = self._sign(session_message(self._device_id, nonce))
        told = self._call(
            "/v1/device/session",
            {"device_id": self._device_id, "nonce": nonce, "signature": base64.b64encode(signature).decode()},
        )
        self._bearer = _Bearer(_text(told, "token", 128))
        return self._bearer

    def _call(self, path: str, body: object) -> object:
        answer = self._connection.exchange("POST", path, body=body, max_bytes=MAX_SMALL)
        return strict_json.loads(answer, max_bytes=MAX_SMALL, what=path)


def _safe(path: str) -> str:
    """`path` for a URL. Names come out of signed metadata, yet nothing but plain path characters leaves this host."""
    if len(path) > 300 or not matches(PATH_PATTERN, path):
        raise DocumentInvalidError("not a path that we ask a server for", element=path[:80])
    return quote(path, safe="/+")


def _digest(digest: str) -> str:
    if not matches(DIGEST_PATTERN, digest):
        raise DocumentInvalidError("not a sha256 digest", element=digest[:80])
    return digest


def _range_start(header: str) -> int:
    unit, _, rest = header.partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdecimal() or len(first) > 16:
        raise ServerUnreachableError("the server's Content-Range makes no sense", element=header[:80], retry=True)
    return int(first)


def _text(answer: object, key: str, longest: int) -> str:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isascii() or not value.isprintable():
        raise DocumentInvalidError(f"the server's answer has no usable {key}", element="session")
    return value


__all__ = ["BlobStream", "Pace", "ServerClient", "ServerRefusedError", "ServerUnreachableError"]
