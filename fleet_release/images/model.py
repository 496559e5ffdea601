"""A resolved image: everything that a release signs, and a way to every byte that is to be uploaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from fleet_protocol.documents.release import Image
from fleet_release.images.documents import Descriptor

CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes by digest, and how to read them."""

    media_type: str
    digest: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """One platform's image, every byte of it verified."""

    name: str  # as the engineer wrote it
    platform: str
    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...]
    unpacked_bytes: int
    origin: str  # where it was found, for people
    source_digest: str  # what the source calls it; differs from the manifest's when converting changed it

    @property
    def download_bytes(self) -> int:
        """Config and layers, as they are transferred."""
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def converted(self) -> bool:
        """Whether the digest that is signed is another than the source's own."""
        return self.source_digest != self.manifest.digest

    def as_document(self) -> Image:
        """As it stands in a release."""
        return Image(
            manifest=self.manifest.digest,
            manifest_size=self.manifest.size,
            download_bytes=self.download_bytes,
            unpacked_bytes=self.unpacked_bytes,
            source=self.name[:400],
        )

    def blobs(self) -> tuple[Blob, ...]:
        """Config and layers, each once, in the order of uploading."""
        return tuple({b.digest: b for b in (self.config, *self.layers)}.values())


class Content(Protocol):
    """Where the documents and blobs of one image lie."""

    origin: str

    def root(self) -> tuple[bytes, str]:
        """The index or manifest of the image, and the media type under which it is named."""

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob; its digest and size are checked by the caller."""

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A blob as a stream."""

    def keep(self, descriptor: Descriptor) -> Callable[[], BinaryIO]:
        """A way to read the blob again, after everything is resolved; fetches it when it is far away."""
