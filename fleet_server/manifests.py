"""Image manifests as they may be pushed: one reading, of one kind, naming only what is there. Pure.

A document with both `manifests` and `layers` or `config` can be read as an index or as a manifest, depending on a
header (CVE-2021-41190); a layer with `urls` sends its reader elsewhere. Both are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import DIGEST_PATTERN, MAX_INTEGER, MAX_LAYERS, MAX_MANIFEST_BYTES, matches
from fleet_server.errors import BadRequestError

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MAX_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a pushed document names."""

    media_type: str
    blobs: tuple[str, ...]
    manifests: tuple[str, ...]


def read_manifest(data: bytes, content_type: str) -> Manifest:
    """Raises BadRequestError or DocumentInvalidError for anything that two readers could understand differently."""
    value = strict_json.loads(data, max_bytes=MAX_MANIFEST_BYTES, what="manifest")
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise BadRequestError("wants a JSON object with schemaVersion 2", element="manifest")
    kind = content_type.partition(";")[0].strip().lower()
    said = value.get("mediaType", kind)
    if said != kind:
        raise BadRequestError(f"is sent as {kind} and calls itself {str(said)[:80]!r}", element="manifest")
    if "manifests" in value and ("layers" in value or "config" in value):
        raise BadRequestError("is an index and an image manifest at once", element="manifest")
    if kind in INDEX_TYPES:
        return Manifest(kind, (), _digests(value.get("manifests"), "manifests", MAX_ENTRIES))
    if kind in MANIFEST_TYPES:
        config = _digests([value.get("config")], "config", 1)
        return Manifest(kind, config + _digests(value.get("layers"), "layers", MAX_LAYERS), ())
    raise BadRequestError(f"media type {kind[:80]!r} is not taken", element="manifest")


def _digests(value: Any, where: str, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise BadRequestError(f"{where} wants a list of at most {most}", element="manifest")
    return tuple(_digest(entry, where) for entry in value)


def _digest(entry: Any, where: str) -> str:
    if not isinstance(entry, dict) or entry.get("urls"):
        raise BadRequestError(f"{where} has an entry that is no descriptor, or leads elsewhere", element="manifest")
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not matches(DIGEST_PATTERN, digest):
        raise BadRequestError(f"{where} has an entry without a sha256 digest", element="manifest")
    if type(size) is not int or not 0 <= size <= MAX_INTEGER:
        raise BadRequestError(f"{where} has an entry without a size", element="manifest")
    return digest
