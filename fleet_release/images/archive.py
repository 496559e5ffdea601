"""A `docker save` archive of the older form, without digests of its own: converted into an OCI image.

Layers lie there without compression; they are compressed once, reproducibly, and named by the new digest.
The configuration stays byte for byte, and so does the image ID, its digest; both digests are shown.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.images.documents import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, digest_of, read_config
from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError
from fleet_release.images.model import CHUNK
from fleet_release.images.tree import Tree, read
from fleet_release.images.workspace import Workspace


class ArchiveContent:
    """One image of an archive, converted when it is first looked at."""

    def __init__(self, tree: Tree, wanted: str, workspace: Workspace) -> None:
        self._tree = tree
        self._wanted = wanted
        self._workspace = workspace
        self._manifest = b""
        self._config = b""
        self._layers: dict[str, Path] = {}
        self.origin = tree.origin
        self.source_digest = ""

    def root(self) -> tuple[bytes, str]:
        """The manifest that the conversion made."""
        if not self._manifest:
            self._convert(self._entry())
        return self._manifest, OCI_MANIFEST

    def document(self, descriptor: Descriptor) -> bytes:  # noqa: ARG002  it has only one
        """The configuration."""
        return self._config

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A converted layer."""
        return self._layers[descriptor.digest].open("rb")

    def keep(self, descriptor: Descriptor) -> Callable[[], BinaryIO]:
        """It lies in the workspace."""
        return lambda: self.open(descriptor)

    def _entry(self) -> dict[str, Any]:
        data = read(self._tree, "manifest.json", bounds.MAX_MANIFEST_BYTES)
        try:
            listed = strict_json.loads(data, max_bytes=bounds.MAX_MANIFEST_BYTES, what="manifest.json")
        except DocumentInvalidError as error:
            raise ImageRefusedError(error.reason, element=self.origin) from error
        if not isinstance(listed, list) or not listed or not all(isinstance(e, dict) for e in listed):
            raise ImageRefusedError("manifest.json lists no images", element=self.origin)
        if len(listed) == 1:
            return dict(listed[0])
        for entry in listed:
            tags = entry.get("RepoTags")
            if isinstance(tags, list) and any(t == self._wanted or str(t).endswith(f"/{self._wanted}") for t in tags):
                return dict(entry)
        offered = ", ".join(sorted(str(t) for e in listed for t in e.get("RepoTags") or ()))[:300]
        text = f"holds {len(listed)} images and none is this one: {offered}"
        raise ImageNotFoundError(text, element=f"{self._wanted} in {self.origin}")

    def _convert(self, entry: dict[str, Any]) -> None:
        names = entry.get("Layers")
        config_name = entry.get("Config")
        if (
            not isinstance(names, list)
            or not all(isinstance(n, str) for n in names)
            or not isinstance(config_name, str)
        ):
            raise ImageRefusedError("manifest.json names no layers or no configuration", element=self.origin)
        self._config = read(self._tree, config_name, bounds.MAX_IMAGE_CONFIG_BYTES)
        config = read_config(self._config, len(names), self.origin)
        self.source_digest = digest_of(self._config)
        layers = []
        for name, diff_id in zip(names, config.diff_ids, strict=True):
            path = self._compressed(name, diff_id)
            digest = f"sha256:{path.name}"
            self._layers[digest] = path
            layers.append({"mediaType": OCI_LAYER_GZIP, "digest": digest, "size": path.stat().st_size})
        config_descriptor = {"mediaType": OCI_CONFIG, "digest": self.source_digest, "size": len(self._config)}
        self._manifest = strict_json.dumps(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config_descriptor, "layers": layers}
        )

    def _compressed(self, name: str, diff_id: str) -> Path:
        """The layer compressed, in the workspace. Its diff ID is checked when it is measured, as for every image."""
        known = self._workspace.converted(diff_id)
        if known is not None:
            return known
        draft = self._workspace.draft()
        with self._tree.open(name) as source, draft.open("wb") as target:
            if source.peek(2)[:2] == b"\x1f\x8b":  # type: ignore[attr-defined]  # a buffered reader has peek
                shutil.copyfileobj(source, target, CHUNK)
            else:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0) as packed:
                    shutil.copyfileobj(source, packed, CHUNK)
        path = self._workspace.adopt(draft)
        self._workspace.remember(diff_id, path)
        return path


def is_archive(tree: Tree) -> bool:
    """Whether it looks like `docker save`."""
    return tree.has("manifest.json")
