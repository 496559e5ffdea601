"""OCI and Docker image manifests and configurations, read strictly: what two readers could read differently is refused.

The signed release names the platform manifest by digest and size, so an index is never walked (rows 29 and 30).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_daemon.prepare.errors import ImageError
from fleet_protocol.documents.release import Image
from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import DocumentInvalidError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_OF = {
    OCI_MANIFEST: "application/vnd.oci.image.config.v1+json",
    DOCKER_MANIFEST: "application/vnd.docker.container.image.v1+json",
}
COMPRESSION_OF = {
    "application/vnd.oci.image.layer.v1.tar": "none",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
}
MAX_ARGUMENTS, MAX_ARGUMENT, MAX_ENVIRONMENT = 256, 4096, 256


@dataclass(frozen=True, slots=True)
class Blob:
    """What one descriptor names."""

    digest: str
    size: int

    @property
    def hex(self) -> str:
        """The digest without its algorithm: 64 lower-case hex digits, safe as a file name."""
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the blob as transferred, and the hash of the tar inside."""

    blob: Blob
    compression: str  # none | gzip | zstd
    diff_id: str  # hex


@dataclass(frozen=True, slots=True)
class Manifest:
    """The platform manifest."""

    config: Blob
    layers: tuple[tuple[Blob, str], ...]  # blob, compression


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The four things that an image may say about how it is run; everything else in it is not even read (row 17)."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    user: str
    working_dir: str
    diff_ids: tuple[str, ...]  # hex


def read_manifest(data: bytes, image: Image) -> Manifest:
    """Raises ImageError unless `data` is one unambiguous image manifest whose blobs are as large as was signed."""
    where = image.manifest[:19]
    fields = _json(data, bounds.MAX_MANIFEST_BYTES, where)
    if not isinstance(fields, dict) or fields.get("schemaVersion") != 2 or type(fields["schemaVersion"]) is not int:
        raise ImageError("not an image manifest of schema version 2", element=where)
    if stray := {"manifests", "fsLayers", "history", "signatures"} & set(fields):
        raise ImageError(f"could be read as another kind of document: it has {', '.join(sorted(stray))}", element=where)
    kind = fields.get("mediaType", OCI_MANIFEST)
    if kind not in CONFIG_OF:
        raise ImageError(f"media type {_shown(kind)} is not an image manifest", element=where)
    config = _blob(fields.get("config"), "config", where)
    if fields["config"].get("mediaType") != CONFIG_OF[kind]:
        raise ImageError(
            f"its config is of type {_shown(fields['config'].get('mediaType'))}, wants {CONFIG_OF[kind]}", element=where
        )
    listed = fields.get("layers")
    if not isinstance(listed, list) or not 1 <= len(listed) <= bounds.MAX_LAYERS:
        raise ImageError(f"wants 1 to {bounds.MAX_LAYERS} layers", element=where)
    layers = tuple(_layer(entry, i, where) for i, entry in enumerate(listed))
    total = config.size + sum(blob.size for blob, _ in layers)
    if total != image.download_bytes:
        raise ImageError(f"its blobs are {total} bytes, the release signed {image.download_bytes}", element=where)
    if config.size > bounds.MAX_IMAGE_CONFIG_BYTES:
        raise ImageError(
            f"its config is {config.size} bytes, at most {bounds.MAX_IMAGE_CONFIG_BYTES} are allowed", element=where
        )
    return Manifest(config, layers)


def read_config(data: bytes, manifest: Manifest, platform: str) -> ImageConfig:
    """Raises ImageError unless `data` is the configuration of an image of `platform` with these layers."""
    where = manifest.config.digest[:19]
    fields = _json(data, bounds.MAX_IMAGE_CONFIG_BYTES, where)
    if not isinstance(fields, dict):
        raise ImageError("not an image configuration", element=where)
    wanted = platform.split("/")
    if (fields.get("os"), fields.get("architecture")) != (wanted[0], wanted[1]):
        said = f"{_shown(fields.get('os'))}/{_shown(fields.get('architecture'))}"
        raise ImageError(f"is for {said}, not for {platform}", element=where)
    rootfs = fields.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise ImageError("rootfs is not a list of layers", element=where)
    diff_ids = rootfs.get("diff_ids")
    if not isinstance(diff_ids, list) or len(diff_ids) != len(manifest.layers):
        raise ImageError(f"does not name one diff ID for each of {len(manifest.layers)} layers", element=where)
    run = fields.get("config") or {}
    if not isinstance(run, dict):
        raise ImageError("config is not an object", element=where)
    return ImageConfig(
        entrypoint=_strings(run.get("Entrypoint"), "Entrypoint", where),
        command=_strings(run.get("Cmd"), "Cmd", where),
        environment=_environment(_strings(run.get("Env"), "Env", where, MAX_ENVIRONMENT, 8192), where),
        user=_string(run.get("User"), "User", where),
        working_dir=_string(run.get("WorkingDir"), "WorkingDir", where),
        diff_ids=tuple(_digest(d, "diff ID", where).removeprefix("sha256:") for d in diff_ids),
    )


def layers_of(manifest: Manifest, config: ImageConfig) -> tuple[Layer, ...]:
    """Blobs and diff IDs joined, bottom first."""
    pairs = zip(manifest.layers, config.diff_ids, strict=True)
    return tuple(Layer(blob, compression, diff_id) for (blob, compression), diff_id in pairs)


def _layer(entry: Any, index: int, where: str) -> tuple[Blob, str]:
    blob = _blob(entry, f"layer {index}", where)
    kind = entry.get("mediaType")
    if kind not in COMPRESSION_OF:
        raise ImageError(f"layer {index} is of type {_shown(kind)}, which is not accepted", element=where)
    if entry.get("urls"):
        raise ImageError(f"layer {index} is to be fetched from elsewhere (urls), which is never done", element=where)
    return blob, COMPRESSION_OF[kind]


def _blob(entry: Any, what: str, where: str) -> Blob:
    if not isinstance(entry, dict):
        raise ImageError(f"{what} is not a descriptor", element=where)
    size = entry.get("size")
    if type(size) is not int or not 0 < size <= bounds.MAX_INTEGER:
        raise ImageError(f"{what} has no acceptable size", element=where)
    return Blob(_digest(entry.get("digest"), what, where), size)


def _digest(value: Any, what: str, where: str) -> str:
    if not isinstance(value, str) or not bounds.matches(bounds.DIGEST_PATTERN, value):
        raise ImageError(f"{what} {_shown(value)} is not sha256: and 64 lower-case hex digits", element=where)
    return value


def _strings(
    value: Any, what: str, where: str, most: int = MAX_ARGUMENTS, length: int = MAX_ARGUMENT
) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > most:
        raise ImageError(f"{what} is not a list of at most {most} strings", element=where)
    return tuple(_string(item, what, where, length) for item in value)


def _string(value: Any, what: str, where: str, length: int = MAX_ARGUMENT) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > length or "\0" in value:
        raise ImageError(f"{what} is not a string of at most {length} characters", element=where)
    return value


def _environment(entries: tuple[str, ...], where: str) -> tuple[tuple[str, str], ...]:
    out: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name or len(name) > 256:
            raise ImageError(f"Env has an entry that is not NAME=value: {_shown(entry)}", element=where)
        out[name] = value
    return tuple(out.items())


def _json(data: bytes, most: int, where: str) -> Any:
    try:
        return strict_json.loads(data, max_bytes=most, what=where)
    except DocumentInvalidError as error:
        raise ImageError(error.reason, element=where) from error


def _shown(value: Any) -> str:
    return repr(value)[:80]
