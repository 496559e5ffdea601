"""Small OCI images made by hand: layers as tar bytes, a configuration, a manifest, and what a release says of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BUSYBOX = Path("/bin/busybox")
TOOLS = "sh cat echo sleep ls id mount umount unshare mkdir touch env pwd grep head stat df hostname chroot mknod true false nc httpd wget yes".split()  # noqa: SIM905, E501
PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
PLATFORM = PLATFORMS[platform.machine()]
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass
class Entry:
    """One member of a layer."""

    name: str
    data: bytes | None = None
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    pax: dict[str, str] = field(default_factory=dict)
    device: tuple[int, int] = (0, 0)
    size: int | None = None


def folder(name: str, mode: int = 0o755, **over: Any) -> Entry:
    return Entry(name, type=tarfile.DIRTYPE, mode=mode, **over)


def text(name: str, data: str = "", mode: int = 0o644, **over: Any) -> Entry:
    return Entry(name, data.encode(), mode=mode, **over)


def link(name: str, target: str) -> Entry:
    return Entry(name, type=tarfile.SYMTYPE, link=target)


def tar(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            header = tarfile.TarInfo(entry.name)
            header.type, header.linkname, header.mode = entry.type, entry.link, entry.mode
            header.uid, header.gid, header.pax_headers = entry.uid, entry.gid, entry.pax
            header.devmajor, header.devminor = entry.device
            header.size = len(entry.data or b"")
            archive.addfile(header, io.BytesIO(entry.data or b""))
    return out.getvalue()


def busybox_entries() -> list[Entry]:
    return [
        folder("bin"),
        Entry("bin/busybox", BUSYBOX.read_bytes()),
        *(link(f"bin/{tool}", "busybox") for tool in TOOLS),
        folder("etc"),
        text("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:101:102::/:/bin/sh\n"),
        text("etc/group", "root:x:0:\nweb:x:102:\nmore:x:103:web\n"),
        folder("tmp", 0o1777),
    ]


@dataclass
class Layer:
    """A tar and how it is packed."""

    content: bytes
    compression: str = "gzip"

    @property
    def packed(self) -> bytes:
        match self.compression:
            case "gzip":
                return gzip.compress(self.content, 1, mtime=0)
            case "zstd":
                return zstd.compress(self.content)
            case _:
                return self.content

    @property
    def media_type(self) -> str:
        return OCI_LAYER + {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[self.compression]

    @property
    def diff_id(self) -> str:
        return digest(self.content)

    @property
    def file_bytes(self) -> int:
        with tarfile.open(fileobj=io.BytesIO(self.content)) as archive:
            return sum(m.size for m in archive if m.isreg())


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Image:
    """Layers and configuration as blobs; `over` replaces fields of manifest and configuration."""

    def __init__(
        self,
        layers: list[Layer],
        run: dict[str, Any] | None = None,
        *,
        manifest: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        unpacked_bytes: int | None = None,
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        os_name, architecture = PLATFORM.split("/")[:2]
        self.config = self._add(
            {
                "os": os_name,
                "architecture": architecture,
                "config": {"Cmd": ["/bin/sh"], **(run or {})},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                **(config or {}),
            }
        )
        packed = [layer.packed for layer in layers]
        for data in packed:
            self.blobs[digest(data)] = data
        self.fields: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.config,
                "size": len(self.blobs[self.config]),
            },
            "layers": [
                {"mediaType": layer.media_type, "digest": digest(data), "size": len(data)}
                for layer, data in zip(layers, packed, strict=True)
            ],
            **(manifest or {}),
        }
        self.manifest = self._add(self.fields)
        self.download_bytes = len(self.blobs[self.config]) + sum(len(data) for data in packed)
        self.unpacked_bytes = sum(layer.file_bytes for layer in layers) if unpacked_bytes is None else unpacked_bytes

    def _add(self, value: dict[str, Any]) -> str:
        data = json.dumps(value).encode()
        self.blobs[digest(data)] = data
        return digest(data)

    @property
    def released(self) -> dict[str, Any]:
        """As it stands in a release."""
        return {
            PLATFORM: {
                "manifest": self.manifest,
                "manifest_size": len(self.blobs[self.manifest]),
                "download_bytes": self.download_bytes,
                "unpacked_bytes": self.unpacked_bytes,
            }
        }


def busybox_image(run: dict[str, Any] | None = None, *more: Layer, compression: str = "gzip") -> Image:
    return Image([Layer(tar(busybox_entries()), compression), *more], run)
