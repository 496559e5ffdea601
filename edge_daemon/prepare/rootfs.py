"""What a container would see at a path, read from its layers as they lie in the store, before anything is mounted.

Layers are only looked at with `lstat` and `O_NOFOLLOW`, component by component: a link in an image is never followed.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from edge_daemon.prepare.errors import SealError

MAX_TEXT_BYTES = 1 << 20
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of the merged tree. A directory has a part in several layers, topmost first."""

    mode: int
    places: tuple[Path, ...]

    @property
    def is_directory(self) -> bool:
        """A real directory, not a link to one."""
        return stat.S_ISDIR(self.mode)


class MergedRoot:
    """Layers as overlayfs would merge them."""

    def __init__(self, layers: tuple[Path, ...]) -> None:
        """`layers`: bottom first."""
        self._root = Found(stat.S_IFDIR | 0o755, tuple(reversed(layers)))

    def walk(self, path: str) -> list[tuple[str, Found | None]]:
        """Each component of `path` with what lies there; ends at the first that is missing or no directory."""
        out: list[tuple[str, Found | None]] = []
        here = self._root
        at = ""
        for part in [p for p in path.split("/") if p]:
            at = f"{at}/{part}"
            found = _below(here, part)
            out.append((at, found))
            if found is None or not found.is_directory:
                break
            here = found
        return out

    def check_target(self, path: str, *, directory: bool, element: str) -> None:
        """Raises SealError if a mount on `path` would go where the image can steer it (rows 41 and 44)."""
        parts = [p for p in path.split("/") if p]
        if not parts or ".." in parts or "." in parts:
            raise SealError(f"{path} cannot be mounted on", element=element)
        seen = self.walk(path)
        for depth, (at, found) in enumerate(seen, 1):
            if found is None:
                return  # the runtime makes it, in the container's own upper directory
            if stat.S_ISLNK(found.mode):
                raise SealError(
                    f"{at} is a symbolic link in the image, and {path} is to be mounted there", element=element
                )
            last = depth == len(parts)
            if found.is_directory is not (directory or not last):
                raise SealError(f"{at} in the image is not what {path} can be mounted on", element=element)

    def read_text(self, path: str) -> str:
        """A regular file's text, "" if there is none that can be read without following a link."""
        seen = self.walk(path)
        if not seen or seen[-1][0] != path:
            return ""
        found = seen[-1][1]
        if found is None or not stat.S_ISREG(found.mode):
            return ""
        handle = os.open(found.places[0], os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def _below(here: Found, name: str) -> Found | None:
    places: list[Path] = []
    mode = 0
    for place in here.places:
        try:
            entry = (place / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISCHR(entry.st_mode) and entry.st_rdev == 0:
            break  # a whiteout: nothing below it shows
        if not stat.S_ISDIR(entry.st_mode):
            return Found(entry.st_mode, (place / name,)) if not places else Found(mode, tuple(places))
        mode = mode or entry.st_mode
        places.append(place / name)
        if _is_opaque(place / name):
            break
    return Found(mode, tuple(places)) if places else None


def _is_opaque(path: Path) -> bool:
    for attribute in _OPAQUE:
        try:
            if os.getxattr(path, attribute, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
