"""An OCI image layout: a directory, or a tar archive of one (`skopeo copy ... oci-archive:`, newer `docker save`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.images.documents import Descriptor, check_digest
from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError
from fleet_release.images.tree import Tree, read

NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")


class LayoutContent:
    """One image of a layout. `wanted` is the name in the compose file: it chooses where there are several."""

    def __init__(self, tree: Tree, wanted: str) -> None:
        self._tree = tree
        self._wanted = wanted
        self.origin = tree.origin

    def root(self) -> tuple[bytes, str]:
        """The one that is named, or the only one."""
        data = read(self._tree, "index.json", bounds.MAX_MANIFEST_BYTES)
        entries = _entries(data, self.origin)
        chosen = [e for e in entries if self._is_wanted(e)] if len(entries) > 1 else entries
        if len(chosen) == 1:
            entry = chosen[0]
            digest = check_digest(entry.get("digest"), "manifest", self.origin)
            size = entry.get("size")
            found = read(self._tree, _path(digest), bounds.MAX_MANIFEST_BYTES)
            if type(size) is not int or size != len(found):
                raise ImageRefusedError(
                    f"{digest[:19]} has {len(found)} bytes, {size!r:.30} were named", element=self.origin
                )
            from fleet_release.images.documents import digest_of

            if digest_of(found) != digest:
                raise ImageRefusedError(f"the bytes of {digest[:19]} are others", element=self.origin)
            return found, str(entry.get("mediaType", ""))
        named = sorted({n for e in entries for n in _names(e)})
        if named:
            offered = ", ".join(named)
            raise ImageNotFoundError(
                f"holds {len(entries)} images and none is this one: {offered}",
                element=f"{self._wanted} in {self.origin}",
            )
        return data, ""

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob."""
        return read(self._tree, _path(descriptor.digest), bounds.MAX_MANIFEST_BYTES)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A blob."""
        return self._tree.open(_path(descriptor.digest))

    def keep(self, descriptor: Descriptor) -> Callable[[], BinaryIO]:
        """It lies here already."""
        return lambda: self.open(descriptor)

    def _is_wanted(self, entry: dict[str, Any]) -> bool:
        tag = self._wanted.rpartition(":")[2]
        return any(n in (self._wanted, tag) or n.endswith(f"/{self._wanted}") for n in _names(entry))


def is_layout(tree: Tree) -> bool:
    """Whether it says that it is one."""
    return tree.has("oci-layout") and tree.has("index.json")


def _path(digest: str) -> str:
    return f"blobs/sha256/{check_digest(digest, 'digest', 'layout').removeprefix('sha256:')}"


def _names(entry: dict[str, Any]) -> list[str]:
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return []
    return [str(annotations[n]) for n in NAMES if isinstance(annotations.get(n), str)]


def _entries(data: bytes, where: str) -> list[dict[str, Any]]:
    try:
        index = strict_json.loads(data, max_bytes=bounds.MAX_MANIFEST_BYTES, what="index.json")
    except DocumentInvalidError as error:
        raise ImageRefusedError(error.reason, element=where) from error
    listed = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(e, dict) for e in listed):
        raise ImageRefusedError("index.json lists no images", element=where)
    return listed
