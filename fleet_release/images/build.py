"""A small image made from files, without any tool or registry: an OCI layout whose bytes depend on nothing else."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_protocol.wire import strict_json
from fleet_release.images.documents import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, digest_of
from fleet_release.values import parse_platform


@dataclass(frozen=True, slots=True)
class LinkTo:
    """A symbolic link."""

    target: str


FileContent = bytes | Path | LinkTo | None  # None: a directory
FileEntry = tuple[str, FileContent, int]


def build_layout(
    out: Path, platforms: Mapping[str, Sequence[FileEntry]], config: Mapping[str, Any], *, name: str = ""
) -> str:
    """Write the layout to `out`; `config` is the image's own (Entrypoint, Env, User, ...). Returns the root's digest.

    `platforms`: platform -> (path in the image, content, mode). Parents are made; everything belongs to root, and no
    time of day goes in, so the same files make the same digests.
    """
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    manifests = []
    for platform, files in sorted((parse_platform(p), f) for p, f in platforms.items()):
        manifests.append({**_manifest(blobs, platform, files, config), "platform": _platform(platform)})
    if len(manifests) == 1:
        root = manifests[0]
    else:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        root = _write(blobs, strict_json.dumps(index), OCI_INDEX)
    if name:
        root = {**root, "annotations": {"org.opencontainers.image.ref.name": name}}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [root]}
    (out / "index.json").write_bytes(strict_json.dumps(index))
    (out / "oci-layout").write_bytes(strict_json.dumps({"imageLayoutVersion": "1.0.0"}))
    return str(root["digest"])


def _manifest(blobs: Path, platform: str, files: Sequence[FileEntry], config: Mapping[str, Any]) -> dict[str, Any]:
    tar = _tar(files)
    layer = _write(blobs, gzip.compress(tar, compresslevel=6, mtime=0), OCI_LAYER_GZIP)
    image = {
        **_platform(platform),
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
    }
    described = _write(blobs, strict_json.dumps(image), OCI_CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": [layer]}
    return _write(blobs, strict_json.dumps(manifest), OCI_MANIFEST)


def _write(blobs: Path, data: bytes, media_type: str) -> dict[str, Any]:
    digest = digest_of(data)
    (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _platform(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def _tar(files: Sequence[FileEntry]) -> bytes:
    entries: dict[str, tuple[FileContent, int]] = {}
    for path, content, mode in files:
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), (None, 0o755))
        entries["/".join(parts)] = (content, mode)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, (content, mode) in sorted(entries.items()):
            info = tarfile.TarInfo(path)
            info.mode = mode
            data = b""
            match content:
                case None:
                    info.type = tarfile.DIRTYPE
                case LinkTo(target=target):
                    info.type, info.linkname = tarfile.SYMTYPE, target
                case Path():
                    data = content.read_bytes()
                case _:
                    data = content
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if data else None)
    return buffer.getvalue()
