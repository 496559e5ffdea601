"""Named files of an image on disk: in a directory, or in a tar archive that is read where it lies."""

from __future__ import annotations

import io
import os.path
import tarfile
from pathlib import Path
from typing import BinaryIO, Protocol

from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError

MAX_MEMBERS = 100_000


class Tree(Protocol):
    """Files by name."""

    origin: str

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def open(self, name: str) -> BinaryIO:
        """Raises ImageNotFoundError when there is no such file."""


def read(tree: Tree, name: str, most: int) -> bytes:
    """A small file. Raises ImageRefusedError when it is not small."""
    with tree.open(name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ImageRefusedError(f"{name} is larger than {most} bytes", element=tree.origin)
    return data


def open_tree(path: Path) -> Tree:
    """The directory or the archive at `path`."""
    if path.is_dir():
        return DirectoryTree(path)
    if path.is_file():
        return ArchiveTree(path)
    raise ImageNotFoundError(f"there is no {path}", element=str(path))


class DirectoryTree:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.origin = str(root)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self._root / name).is_file()

    def open(self, name: str) -> BinaryIO:
        """Names come from checked digests, or are fixed."""
        try:
            return (self._root / name).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise ImageNotFoundError(f"has no {name}", element=self.origin) from None


class ArchiveTree:
    """A tar archive without compression: members are read by their offsets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = str(path)
        with path.open("rb") as file:
            start = file.read(6)
        if start[:2] == b"\x1f\x8b" or start[:4] == b"\x28\xb5\x2f\xfd" or start[:6] == b"\xfd7zXZ\x00":
            raise ImageRefusedError(
                "is a compressed archive", element=self.origin, hint="decompress it first, for example with gunzip"
            )
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    self._add(member)
        except tarfile.TarError as error:
            raise ImageRefusedError(
                f"is neither a directory nor a tar archive: {error}", element=self.origin
            ) from error

    def _add(self, member: tarfile.TarInfo) -> None:
        name = os.path.normpath(member.name)
        if len(self._files) > MAX_MEMBERS:
            raise ImageRefusedError(f"has more than {MAX_MEMBERS} members", element=self.origin)
        if member.isdir():
            return
        if name in self._files or name in self._links:
            raise ImageRefusedError(f"holds {name} twice", element=self.origin)
        if member.issym():
            self._links[name] = os.path.normpath(os.path.join(os.path.dirname(name), member.linkname))
        elif member.islnk():
            self._links[name] = os.path.normpath(member.linkname)
        elif member.isreg() and not member.issparse():
            self._files[name] = (member.offset_data, member.size)

    def _find(self, name: str) -> tuple[int, int] | None:
        # Older `docker save` writes one layer as a link to another of the same archive.
        name = os.path.normpath(name)
        return self._files.get(self._links.get(name, name))

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._find(name) is not None

    def open(self, name: str) -> BinaryIO:
        """A window on the archive."""
        found = self._find(name)
        if found is None:
            raise ImageNotFoundError(f"has no {name}", element=self.origin)
        return io.BufferedReader(_Window(self._path, *found))


class _Window(io.RawIOBase):
    """`size` bytes of a file from `offset`."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb")
        self._file.seek(offset)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._file.read(min(len(view), self._left))
        self._left -= len(data)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
