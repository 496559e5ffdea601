"""Manifests, indexes and configurations of images, OCI and Docker schema 2, read so that there is only one reading.

Refused: a document with the parts of two kinds, a media type that contradicts the descriptor, digests that are not
sha256 in lower case, sizes that are no sizes, layers to be fetched from elsewhere, an index in an index in an index.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.images.errors import ImageRefusedError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
CONFIG_OF = {OCI_MANIFEST: OCI_CONFIG, DOCKER_MANIFEST: DOCKER_CONFIG}
COMPRESSION_OF = {
    OCI_LAYER: "none",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
}
MAX_INDEX_ENTRIES = 100
ONLY_INDEX = frozenset({"manifests"})
ONLY_MANIFEST = frozenset({"layers", "config", "fsLayers", "history", "signatures"})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names bytes by digest and size."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of an index. `platform` is None where nothing is said, and "" for what is no image of a machine."""

    descriptor: Descriptor
    platform: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One platform's image."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What a release needs to know of an image's configuration."""

    platform: str
    diff_ids: tuple[str, ...]


def digest_of(data: bytes) -> str:
    """`sha256:...` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(value: Any, what: str, where: str) -> str:
    """A digest that may stand in a path (row 31)."""
    if not isinstance(value, str) or not bounds.matches(bounds.DIGEST_PATTERN, value):
        raise ImageRefusedError(f"{what} {value!r:.90} is not sha256: and 64 lower-case hex digits", element=where)
    return value


def check_bytes(data: bytes, descriptor: Descriptor, where: str) -> bytes:
    """`data`, when it is exactly what was named."""
    if len(data) != descriptor.size:
        raise ImageRefusedError(
            f"{descriptor.digest[:19]} has {len(data)} bytes, {descriptor.size} were named", element=where
        )
    if (found := digest_of(data)) != descriptor.digest:
        raise ImageRefusedError(f"the bytes are {found[:19]}, {descriptor.digest[:19]} was named", element=where)
    return data


def read_document(data: bytes, media_type: str, where: str) -> Manifest | tuple[IndexEntry, ...]:
    """A manifest or an index. `media_type` is what the one who named it says; "" when nobody did."""
    fields = _object(data, bounds.MAX_MANIFEST_BYTES, where)
    if type(fields.get("schemaVersion")) is not int or fields["schemaVersion"] != 2:
        raise ImageRefusedError("not an image manifest or index of schema version 2", element=where)
    if ONLY_INDEX & set(fields) and ONLY_MANIFEST & set(fields):
        raise ImageRefusedError("can be read both as an index and as a manifest", element=where)
    if stray := {"fsLayers", "history", "signatures"} & set(fields):
        raise ImageRefusedError(f"has parts of the old schema 1: {', '.join(sorted(stray))}", element=where)
    is_index = "manifests" in fields
    own = fields.get("mediaType", media_type or (OCI_INDEX if is_index else OCI_MANIFEST))
    if media_type and own != media_type:
        raise ImageRefusedError(f"says that it is {own!r:.80}, but is named as {media_type}", element=where)
    if own not in (INDEXES if is_index else MANIFESTS):
        raise ImageRefusedError(
            f"media type {own!r:.80} is not that of {'an index' if is_index else 'a manifest'}", element=where
        )
    return _index(fields, where) if is_index else _manifest(fields, str(own), where)


def read_config(data: bytes, layers: int, where: str) -> Config:
    """The configuration of an image with so many layers."""
    fields = _object(data, bounds.MAX_IMAGE_CONFIG_BYTES, where)
    rootfs = fields.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers" or not isinstance(diff_ids, list):
        raise ImageRefusedError("the configuration names no layers", element=where)
    if len(diff_ids) != layers:
        raise ImageRefusedError(f"the configuration names {len(diff_ids)} diff IDs for {layers} layers", element=where)
    checked = tuple(check_digest(d, "diff ID", where) for d in diff_ids)
    return Config(_platform(fields) or "unknown", checked)


def _manifest(fields: dict[str, Any], media_type: str, where: str) -> Manifest:
    config = _descriptor(fields.get("config"), "config", where)
    if config.media_type != CONFIG_OF[media_type]:
        raise ImageRefusedError(
            f"its config is {config.media_type!r:.80}, wants {CONFIG_OF[media_type]}", element=where
        )
    if config.size > bounds.MAX_IMAGE_CONFIG_BYTES:
        raise ImageRefusedError(
            f"its config has {config.size} bytes, at most {bounds.MAX_IMAGE_CONFIG_BYTES}", element=where
        )
    listed = fields.get("layers")
    if not isinstance(listed, list) or not 1 <= len(listed) <= bounds.MAX_LAYERS:
        raise ImageRefusedError(f"wants 1 to {bounds.MAX_LAYERS} layers", element=where)
    layers = []
    for i, entry in enumerate(listed):
        layer = _descriptor(entry, f"layer {i}", where)
        if layer.media_type not in COMPRESSION_OF:
            raise ImageRefusedError(f"layer {i} is {layer.media_type!r:.80}, which is not accepted", element=where)
        if entry.get("urls"):
            raise ImageRefusedError(
                f"layer {i} is to be fetched from elsewhere (urls), which is never done", element=where
            )
        layers.append(layer)
    return Manifest(media_type, config, tuple(layers))


def _index(fields: dict[str, Any], where: str) -> tuple[IndexEntry, ...]:
    listed = fields.get("manifests")
    if not isinstance(listed, list) or len(listed) > MAX_INDEX_ENTRIES:
        raise ImageRefusedError(f"an index lists at most {MAX_INDEX_ENTRIES} manifests", element=where)
    out = []
    for i, entry in enumerate(listed):
        descriptor = _descriptor(entry, f"manifest {i}", where)
        platform = entry.get("platform")
        out.append(IndexEntry(descriptor, (_platform(platform) or "") if isinstance(platform, dict) else None))
    return tuple(out)


def _platform(fields: dict[str, Any]) -> str | None:
    """`linux/arm/v7`; an ARM image without a variant is the baseline of its architecture."""
    parts = [fields.get("os"), fields.get("architecture")]
    if not all(isinstance(p, str) and p not in ("", "unknown") for p in parts):
        return None
    variant = fields.get("variant")
    usual = {"arm64": "v8", "amd64": "v1", "386": ""}.get(str(parts[1]))
    if parts[1] == "arm" and not variant:
        variant = "v7"
    if isinstance(variant, str) and variant and variant != usual:
        parts.append(variant)
    return "/".join(str(p) for p in parts)


def _descriptor(entry: Any, what: str, where: str) -> Descriptor:
    if not isinstance(entry, dict) or not isinstance(entry.get("mediaType"), str):
        raise ImageRefusedError(f"{what} is not a descriptor", element=where)
    size = entry.get("size")
    if type(size) is not int or not 0 < size <= bounds.MAX_INTEGER:
        raise ImageRefusedError(f"{what} has no acceptable size", element=where)
    return Descriptor(entry["mediaType"], check_digest(entry.get("digest"), what, where), size)


def _object(data: bytes, most: int, where: str) -> dict[str, Any]:
    try:
        value = strict_json.loads(data, max_bytes=most, what=where)
    except DocumentInvalidError as error:
        raise ImageRefusedError(error.reason, element=where) from error
    if not isinstance(value, dict):
        raise ImageRefusedError("not an object", element=where)
    return value
