"""An image of one place resolved for the platforms of a release, and every byte of it verified before it is signed."""

from __future__ import annotations

import io

from fleet_release.images.documents import (
    INDEXES,
    MANIFESTS,
    Config,
    Descriptor,
    IndexEntry,
    Manifest,
    check_bytes,
    digest_of,
    read_config,
    read_document,
)
from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError
from fleet_release.images.measure import Measured, measure
from fleet_release.images.model import Blob, Content, ResolvedImage

MAX_DEPTH = 2

Memo = dict[str, Measured]
"""Layers already read, by digest: images share them."""


class ResolvableImage:
    """One image of one place: which platforms it offers, and each of them resolved."""

    def __init__(self, name: str, content: Content, memo: Memo | None = None) -> None:
        self.name = name
        self._content = content
        self._memo: Memo = {} if memo is None else memo
        self._found: dict[str, tuple[Descriptor, bytes]] | None = None

    def platforms(self) -> tuple[str, ...]:
        """What the image is there for."""
        return tuple(sorted(self._manifests()))

    def resolve(self, platform: str) -> ResolvedImage:
        """Raises ImageNotFoundError when the platform is not there, ImageRefusedError when a byte is not as named."""
        found = self._manifests()
        if platform not in found:
            offered = ", ".join(sorted(found)) or "no platform"
            raise ImageNotFoundError(f"{self._content.origin} has no {platform}, only {offered}", element=self.name)
        descriptor, data = found[platform]
        manifest = self._manifest(data, descriptor)
        config_bytes = check_bytes(self._content.document(manifest.config), manifest.config, self.name)
        config = read_config(config_bytes, len(manifest.layers), self.name)
        if config.platform != platform:
            raise ImageRefusedError(
                f"is named as {platform}, but its configuration is for {config.platform}", element=self.name
            )
        layers = []
        unpacked: dict[str, int] = {}
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            opener = self._content.keep(layer)
            measured = self._memo.get(layer.digest) or measure(opener(), layer, self.name)
            self._memo[layer.digest] = measured
            if measured.diff_id != diff_id:
                text = (
                    f"the layer {layer.digest[:19]} is {measured.diff_id[:19]} inside, its image names {diff_id[:19]}"
                )
                raise ImageRefusedError(text, element=self.name)
            unpacked[diff_id] = measured.file_bytes
            layers.append(Blob(layer.media_type, layer.digest, layer.size, opener))
        return ResolvedImage(
            self.name,
            platform,
            _in_memory(manifest.media_type, data),
            _in_memory(manifest.config.media_type, config_bytes),
            tuple(layers),
            config.diff_ids,
            sum(unpacked.values()),
            self._content.origin,
            getattr(self._content, "source_digest", "") or descriptor.digest,
        )

    def _manifests(self) -> dict[str, tuple[Descriptor, bytes]]:
        if self._found is None:
            data, media_type = self._content.root()
            root = Descriptor(media_type, digest_of(data), len(data))
            self._found = {}
            self._walk(data, root, 0)
        return self._found

    def _walk(self, data: bytes, descriptor: Descriptor, depth: int) -> None:
        document = read_document(data, descriptor.media_type, self.name)
        if isinstance(document, Manifest):
            self._offer(self._config(document).platform, descriptor, data)
            return
        if depth >= MAX_DEPTH:
            raise ImageRefusedError("has an index in an index in an index", element=self.name)
        for entry in document:
            self._follow(entry, depth)

    def _follow(self, entry: IndexEntry, depth: int) -> None:
        if entry.platform == "":
            return  # attestations stand in an image's index for an unknown platform
        if entry.descriptor.media_type not in (*MANIFESTS, *INDEXES):
            return
        try:
            data = self._content.document(entry.descriptor)
        except ImageNotFoundError:
            return  # an archive may list more platforms than it holds
        check_bytes(data, entry.descriptor, self.name)
        if entry.platform is None or entry.descriptor.media_type in INDEXES:
            self._walk(data, entry.descriptor, depth + 1)
        else:
            self._manifest(data, entry.descriptor)
            self._offer(entry.platform, entry.descriptor, data)

    def _offer(self, platform: str, descriptor: Descriptor, data: bytes) -> None:
        assert self._found is not None
        before = self._found.get(platform)
        if before is not None and before[0].digest != descriptor.digest:
            raise ImageRefusedError(f"lists two different images for {platform}", element=self.name)
        self._found[platform] = (descriptor, data)

    def _manifest(self, data: bytes, descriptor: Descriptor) -> Manifest:
        document = read_document(data, descriptor.media_type, self.name)
        if not isinstance(document, Manifest):
            raise ImageRefusedError("an index stands where a platform's manifest is named", element=self.name)
        return document

    def _config(self, manifest: Manifest) -> Config:
        data = check_bytes(self._content.document(manifest.config), manifest.config, self.name)
        return read_config(data, len(manifest.layers), self.name)


def _in_memory(media_type: str, data: bytes) -> Blob:
    return Blob(media_type, digest_of(data), len(data), lambda: io.BytesIO(data))
