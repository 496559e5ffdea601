"""Where each image of a release is looked for: a file that the engineer named, else its registry."""

from __future__ import annotations

import os.path
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleet_release.images.archive import ArchiveContent, is_archive
from fleet_release.images.credentials import Lookup, no_credentials
from fleet_release.images.errors import ImageRefusedError
from fleet_release.images.layout import LayoutContent, is_layout
from fleet_release.images.reference import parse_reference
from fleet_release.images.registry import RegistryContent
from fleet_release.images.resolve import Memo, ResolvableImage
from fleet_release.images.tree import Tree, open_tree
from fleet_release.images.workspace import Workspace


@dataclass(slots=True)
class ImageSources:
    """`files`: image name -> layout directory or archive. Close it when everything was uploaded."""

    workspace: Workspace
    files: Mapping[str, Path] = field(default_factory=dict)
    lookup: Lookup = no_credentials
    tls: ssl.SSLContext | None = None
    realms: tuple[str, ...] = ()
    _images: dict[str, ResolvableImage] = field(default_factory=dict)
    _trees: dict[Path, Tree] = field(default_factory=dict)
    _registries: list[RegistryContent] = field(default_factory=list)
    _memo: Memo = field(default_factory=dict)

    def image(self, name: str) -> ResolvableImage:
        """The image that the compose file calls `name`. Nothing is read yet but the archive's list."""
        if name not in self._images:
            path = self.files.get(name)
            content = self._local(name, path) if path is not None else self._remote(name)
            self._images[name] = ResolvableImage(name, content, self._memo)
        return self._images[name]

    def close(self) -> None:
        """Close connections; resolved images stay readable."""
        for registry in self._registries:
            registry.close()

    def _local(self, name: str, path: Path) -> LayoutContent | ArchiveContent:
        key = Path(os.path.abspath(path))
        tree = self._trees.get(key) or open_tree(path)
        self._trees[key] = tree
        if is_layout(tree):
            return LayoutContent(tree, name)
        if is_archive(tree):
            return ArchiveContent(tree, name, self.workspace)
        raise ImageRefusedError("is neither an OCI layout nor a `docker save` archive", element=str(path))

    def _remote(self, name: str) -> RegistryContent:
        content = RegistryContent(parse_reference(name), self.workspace, self.lookup, tls=self.tls, realms=self.realms)
        self._registries.append(content)
        return content
