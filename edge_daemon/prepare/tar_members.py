"""What a layer's tar may contain. Pure: headers and names in, plain values or a refusal out.

The bounds are far above what images hold and far below what hurts a small host (rows 36 to 40).
"""

from __future__ import annotations

import tarfile
from typing import NamedTuple, Self

from edge_daemon.prepare.errors import UnpackError

MAX_ENTRIES = 500_000
MAX_DEPTH = 128
MAX_NAME_BYTES = 4095
MAX_COMPONENT_BYTES = 255
MAX_PAX_BYTES = 1 << 20
MAX_ID = 65535
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
MAX_MTIME = 2**33


class BoundedHeader(tarfile.TarInfo):
    """A header whose extensions cannot be huge; tarfile itself reads them whole, whatever size they claim."""

    def _proc_pax(self, archive: tarfile.TarFile) -> Self:
        self._bounded(MAX_PAX_BYTES)
        return super()._proc_pax(archive)  # type: ignore[misc,no-any-return]

    def _proc_gnulong(self, archive: tarfile.TarFile) -> Self:
        self._bounded(MAX_NAME_BYTES + 1)
        return super()._proc_gnulong(archive)  # type: ignore[misc,no-any-return]

    def _proc_sparse(self, _archive: tarfile.TarFile) -> Self:
        raise UnpackError(f"{shown(self.name)} is a sparse file")

    def _bounded(self, most: int) -> None:
        if not 0 <= self.size <= most:
            raise UnpackError(f"an extended header of {self.size} bytes, at most {most} are allowed")


class Member(NamedTuple):
    """One entry, judged. `path` has neither a leading slash nor `.` or `..`; () is the layer's root."""

    kind: str  # directory | file | symlink | hardlink | whiteout | opaque
    path: tuple[str, ...]
    target: str  # symlink: as written; else ""
    source: tuple[str, ...]  # hardlink: what it is another name of
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int


def judge(header: tarfile.TarInfo) -> Member:
    """Raises UnpackError for whatever a layer may not hold."""
    path = split_name(header.name)
    kind = _kind(header)
    source: tuple[str, ...] = ()
    target = ""
    if kind == "hardlink":
        source = split_name(header.linkname)
    elif kind == "symlink":
        target = _link_target(header)
    if path and path[-1].startswith(WHITEOUT):
        kind, path = _whiteout(path)
    elif any(part.startswith(WHITEOUT) for part in path):
        raise UnpackError(f"{shown(header.name)} lies below a whiteout")
    if not path and kind != "directory":
        raise UnpackError("replaces or hides the root itself")
    if not (0 <= header.uid <= MAX_ID and 0 <= header.gid <= MAX_ID):
        raise UnpackError(f"{shown(header.name)} belongs to {header.uid}:{header.gid}, at most {MAX_ID} is allowed")
    return Member(
        kind, path, target, source, _mode(header, kind), header.uid, header.gid, _size(header, kind), _mtime(header)
    )


def split_name(name: str) -> tuple[str, ...]:
    """The components of a member's name below the root; leading slashes are dropped, `..` is refused."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) > MAX_NAME_BYTES or b"\0" in encoded:
        raise UnpackError(f"a name of {len(encoded)} bytes, at most {MAX_NAME_BYTES} are allowed")
    parts = tuple(p for p in name.split("/") if p not in ("", "."))
    if ".." in parts:
        raise UnpackError(f"{shown(name)} leads out of the layer")
    if len(parts) > MAX_DEPTH:
        raise UnpackError(f"{len(parts)} directories deep, at most {MAX_DEPTH} are allowed")
    if any(len(p.encode("utf-8", "surrogateescape")) > MAX_COMPONENT_BYTES for p in parts):
        raise UnpackError(f"{shown(name)} has a component longer than {MAX_COMPONENT_BYTES} bytes")
    return parts


def shown(name: str) -> str:
    """A name from outside, short and printable."""
    return ascii(name)[:120]


def _kind(header: tarfile.TarInfo) -> str:
    if header.issparse():
        raise UnpackError(f"{shown(header.name)} is a sparse file")
    if header.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        return "file"
    if header.type == tarfile.DIRTYPE:
        return "directory"
    if header.type == tarfile.SYMTYPE:
        return "symlink"
    if header.type == tarfile.LNKTYPE:
        return "hardlink"
    names = {tarfile.CHRTYPE: "a character device", tarfile.BLKTYPE: "a block device", tarfile.FIFOTYPE: "a named pipe"}
    raise UnpackError(f"{shown(header.name)} is {names.get(header.type, f'of unknown type {header.type!r}')}")


def _whiteout(path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    *parents, last = path
    if any(part.startswith(WHITEOUT) for part in parents):
        raise UnpackError("a whiteout lies below a whiteout")
    if last == OPAQUE:
        return "opaque", tuple(parents)
    hidden = last.removeprefix(WHITEOUT)
    if hidden in ("", ".", "..") or hidden.startswith(WHITEOUT):
        raise UnpackError(f"{shown(last)} is a whiteout of nothing")
    return "whiteout", (*parents, hidden)


def _link_target(header: tarfile.TarInfo) -> str:
    encoded = header.linkname.encode("utf-8", "surrogateescape")
    if not 0 < len(encoded) <= MAX_NAME_BYTES or b"\0" in encoded:
        raise UnpackError(f"{shown(header.name)} is a symbolic link to a name of {len(encoded)} bytes")
    return header.linkname


def _mode(header: tarfile.TarInfo, kind: str) -> int:
    """Set-id bits do nothing under no_new_privs and are not kept; a directory keeps its group and sticky bits."""
    return header.mode & (0o3777 if kind == "directory" else 0o1777)


def _size(header: tarfile.TarInfo, kind: str) -> int:
    if kind != "file":
        return 0
    if header.size < 0:
        raise UnpackError(f"{shown(header.name)} has a negative size")
    return header.size


def _mtime(header: tarfile.TarInfo) -> int:
    return int(min(max(header.mtime, 0), MAX_MTIME))
