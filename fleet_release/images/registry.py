"""An image in a registry (OCI distribution). Documents are read, layers are fetched once into the workspace."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2

from fleet_protocol.wire import bounds
from fleet_release.images.credentials import Lookup, no_credentials
from fleet_release.images.documents import INDEXES, MANIFESTS, Descriptor, digest_of
from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError, RegistryUnreachableError
from fleet_release.images.model import CHUNK
from fleet_release.images.reference import Reference
from fleet_release.images.session import RegistrySession, bounded
from fleet_release.images.workspace import Workspace

ACCEPT = ", ".join((*INDEXES, *MANIFESTS))


class RegistryContent:
    """One image of a registry."""

    def __init__(
        self,
        reference: Reference,
        workspace: Workspace,
        lookup: Lookup = no_credentials,
        *,
        tls: ssl.SSLContext | None = None,
        realms: tuple[str, ...] = (),
    ) -> None:
        self._reference = reference
        self._workspace = workspace
        self._session = RegistrySession(reference, lookup, tls=tls, realms=realms)
        self.origin = str(reference)

    def close(self) -> None:
        """Close its connections; what was fetched stays readable."""
        self._session.close()

    def root(self) -> tuple[bytes, str]:
        """What the tag or the digest names."""
        wanted = self._reference.digest or self._reference.tag
        data, media_type = self._manifest(wanted)
        if self._reference.digest and digest_of(data) != self._reference.digest:
            text = f"the registry answered with {digest_of(data)[:19]}, {self._reference.digest[:19]} was asked for"
            raise ImageRefusedError(text, element=self.origin)
        return data, media_type

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest or a configuration."""
        if descriptor.media_type in (*MANIFESTS, *INDEXES):
            return self._manifest(descriptor.digest)[0]
        with self._session.get(f"/blobs/{descriptor.digest}") as response:
            return bounded(response, min(descriptor.size, bounds.MAX_IMAGE_CONFIG_BYTES), self.origin)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A layer, fetched when it is not here yet."""
        return self._fetched(descriptor).open("rb")

    def keep(self, descriptor: Descriptor) -> Callable[[], BinaryIO]:
        """Fetches now, reads again later."""
        path = self._fetched(descriptor)
        return lambda: path.open("rb")

    def _manifest(self, wanted: str) -> tuple[bytes, str]:
        with self._session.get(f"/manifests/{wanted}", {"Accept": ACCEPT}) as response:
            media_type = response.headers.get("content-type", "").partition(";")[0].strip()
            if media_type not in (*MANIFESTS, *INDEXES):
                raise ImageNotFoundError(
                    f"is {media_type!r:.80}, which is no image that a release can name", element=self.origin
                )
            return bounded(response, bounds.MAX_MANIFEST_BYTES, self.origin), media_type

    def _fetched(self, descriptor: Descriptor) -> Path:
        known = self._workspace.find(descriptor.digest, descriptor.size)
        if known is not None:
            return known
        draft = self._workspace.draft()
        try:
            found = hashlib.sha256()
            count = 0
            with self._session.get(f"/blobs/{descriptor.digest}") as response, draft.open("wb") as file:
                # Raw: a blob is bytes by digest, whatever the transfer says about encodings.
                for chunk in response.iter_raw(CHUNK):
                    count += len(chunk)
                    if count > descriptor.size:
                        text = f"the layer {descriptor.digest[:19]} has more than the {descriptor.size} bytes named"
                        raise ImageRefusedError(text, element=self.origin)
                    found.update(chunk)
                    file.write(chunk)
            if count != descriptor.size or f"sha256:{found.hexdigest()}" != descriptor.digest:
                text = f"the layer {descriptor.digest[:19]} arrived as {count} bytes that are not it"
                raise ImageRefusedError(text, element=self.origin, retry=True)
            return self._workspace.adopt(draft)
        except httpx2.HTTPError as error:
            raise RegistryUnreachableError(
                str(error) or type(error).__name__, element=self.origin, retry=True
            ) from error
        finally:
            draft.unlink(missing_ok=True)
