"""Images uploaded to the Roadstead server, by OCI distribution: what it has is not sent again."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx2

from fleet_protocol.wire.errors import UnreachableError
from fleet_release.images.errors import PushRefusedError
from fleet_release.images.model import CHUNK, Blob, ResolvedImage

TIMEOUT = httpx2.Timeout(60.0)
TRIES = 3

Progress = Callable[[str, int, int], None]
"""What, bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What it took."""

    blobs_sent: int
    blobs_known: int
    bytes_sent: int
    manifests: int


def push_images(
    images: Iterable[ResolvedImage],
    server: str,
    repository: str,
    headers: Mapping[str, str],
    *,
    tls: ssl.SSLContext | None = None,
    progress: Progress | None = None,
) -> Pushed:
    """Upload to `{server}/v2/{repository}`: every blob, then the manifests. Safe to repeat at any time.

    Raises PushRefusedError when the server does not take something, UnreachableError when it does not answer.
    """
    listed = list(images)
    blobs = {b.digest: b for image in listed for b in image.blobs()}
    manifests = {i.manifest.digest: i.manifest for i in listed}
    with httpx2.Client(
        headers=dict(headers),
        timeout=TIMEOUT,
        verify=tls or ssl.create_default_context(),
        follow_redirects=False,
        trust_env=False,
    ) as client:
        upload = _Upload(client, f"{server.rstrip('/')}/v2/{repository}", progress or (lambda *_: None))
        known = sum(not upload.blob(blob) for blob in blobs.values())
        for manifest in manifests.values():
            upload.manifest(manifest)
    return Pushed(len(blobs) - known, known, upload.sent, len(manifests))


class _Upload:
    def __init__(self, client: httpx2.Client, base: str, progress: Progress) -> None:
        self._client = client
        self._base = base
        self._progress = progress
        self.sent = 0

    def blob(self, blob: Blob) -> bool:
        """Whether it had to be sent. A broken connection is tried again: the HEAD says what is missing."""
        for attempt in range(TRIES):
            try:
                if self._has(f"{self._base}/blobs/{blob.digest}"):
                    return False
                self._send(blob)
            except UnreachableError:
                if attempt == TRIES - 1:
                    raise
            else:
                return True
        return True

    def manifest(self, manifest: Blob) -> None:
        """By digest, after every blob that it names."""
        url = f"{self._base}/manifests/{manifest.digest}"
        with manifest.open() as file:
            data = file.read()
        response = self._request("PUT", url, content=data, headers={"Content-Type": manifest.media_type})
        self._expect(response, (201,), manifest.digest)

    def _has(self, url: str) -> bool:
        response = self._request("HEAD", url)
        if response.status_code == 404:
            return False
        self._expect(response, (200,), url.rpartition("/")[2])
        return True

    def _send(self, blob: Blob) -> None:
        response = self._request("POST", f"{self._base}/blobs/uploads/", headers={"Content-Length": "0"})
        self._expect(response, (202,), blob.digest)
        location = urljoin(f"{self._base}/", response.headers.get("location", ""))
        if _origin(location) != _origin(self._base):
            raise PushRefusedError("the server wants the blob sent to another host", element=blob.digest[:19])
        url = str(httpx2.URL(location).copy_merge_params({"digest": blob.digest}))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        response = self._request("PUT", url, content=self._chunks(blob), headers=headers)
        self._expect(response, (201,), blob.digest)
        self.sent += blob.size

    def _chunks(self, blob: Blob) -> Iterator[bytes]:
        done = 0
        with blob.open() as file:
            while data := file.read(CHUNK):
                yield data
                done += len(data)
                self._progress(blob.digest, done, blob.size)

    def _request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        try:
            return self._client.request(method, url, content=content, headers=dict(headers or {}))
        except httpx2.HTTPError as error:
            raise UnreachableError(str(error) or type(error).__name__, element=self._base, retry=True) from error

    def _expect(self, response: httpx2.Response, wanted: tuple[int, ...], digest: str) -> None:
        if response.status_code in wanted:
            return
        said = _words(response)
        retry = response.status_code in (429, 502, 503, 504)
        raise PushRefusedError(
            f"the server answered with status {response.status_code}{f': {said}' if said else ''}",
            element=digest[:19],
            retry=retry,
        )


def _words(response: httpx2.Response) -> str:
    """The server's own sentence, or the first message of a registry's error list."""
    try:
        body = response.json()
        if "detail" in body:
            return str(body["detail"])[:300]
        return str(body["errors"][0].get("message", ""))[:300]
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
