"""Writing a layer's members below the current root directory. Runs in the unpacker's child, which has nothing else.

Every component of every path is opened without following links, so a link in the layer leads nowhere, even inside.
Whiteouts become what overlayfs reads: a 0:0 character device (any user may make one since Linux 5.8), and a list of
opaque directories, whose `trusted.` attribute only the privileged parent can set. Extended attributes are dropped.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import IO, NamedTuple, cast

from edge_daemon.prepare.decompress import CHUNK, LayerStream
from edge_daemon.prepare.errors import UnpackError
from edge_daemon.prepare.tar_members import MAX_ENTRIES, BoundedHeader, Member, judge, shown

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extracted(NamedTuple):
    """What became of a layer."""

    diff_id: str
    file_bytes: int
    entries: int
    opaque: list[str]


def extract(stream: LayerStream, root: int, *, most_bytes: int) -> Extracted:
    """Write the tar in `stream` below the directory handle `root`. Raises UnpackError at what may not be."""
    writer = _Writer(root, most_bytes)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", tarinfo=BoundedHeader, errorlevel=2) as archive:
            for header in archive:
                writer.write(judge(header), archive.extractfile(header) if header.isreg() else None)
                vars(archive)["members"] = []  # tarfile keeps every header it has seen
    except (tarfile.TarError, RecursionError, EOFError) as error:
        raise UnpackError(f"is not a readable tar: {error}") from error
    except (OverflowError, UnicodeError) as error:
        raise UnpackError(f"has an unusable header: {error}") from error
    finally:
        writer.close()
    return Extracted(stream.drain(), writer.file_bytes, writer.entries, sorted(writer.opaque))


class _Writer:
    """Members to files; keeps the handle of the directory it wrote to last, since members come by directory."""

    def __init__(self, root: int, most_bytes: int) -> None:
        self._root = root
        self._most = most_bytes
        self._parent: tuple[str, ...] | None = None
        self._handle = -1
        self.file_bytes = 0
        self.entries = 0
        self.opaque: set[str] = set()

    def write(self, member: Member, data: IO[bytes] | None) -> None:
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise UnpackError(f"more than {MAX_ENTRIES} entries")
        try:
            self._write(member, data)
        except OSError as error:
            raise UnpackError(f"{shown('/'.join(member.path))} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._parent = -1, None

    def _write(self, member: Member, data: IO[bytes] | None) -> None:
        if not member.path:
            self._own(self._root, ".", member)
            return
        if member.kind == "opaque":
            self._directory(member.path)
            self.opaque.add("/".join(member.path))
            return
        *parents, name = member.path
        folder = self._directory(tuple(parents))
        match member.kind:
            case "directory":
                self._make_directory(folder, name, member)
            case "file":
                self._make_file(folder, name, member, data)
            case "symlink":
                self._clear(folder, name, member)
                os.symlink(member.target, name, dir_fd=folder)
                os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
            case "hardlink":
                self._make_link(folder, name, member)
            case "whiteout":
                self._make_whiteout(folder, name, member)
            case kind:
                raise UnpackError(f"an entry of kind {kind}")

    def _make_directory(self, folder: int, name: str, member: Member) -> None:
        found = _mode_of(folder, name)
        if found is None or not stat.S_ISDIR(found):
            if found is not None:
                os.unlink(name, dir_fd=folder)
            os.mkdir(name, 0o700, dir_fd=folder)
        if found is not None and stat.S_ISCHR(
            found
        ):  # a whiteout and a directory of one name: what lies below is hidden
            self.opaque.add("/".join(member.path))
        self._own(folder, name, member)

    def _make_file(self, folder: int, name: str, member: Member, data: IO[bytes] | None) -> None:
        self.file_bytes += member.size
        if self.file_bytes > self._most:
            raise UnpackError(f"its files are more than {self._most} bytes, which is more than the release signed")
        self._clear(folder, name, member)
        handle = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb", buffering=0) as file:
            written = 0
            while data is not None and (chunk := data.read(CHUNK)):
                written += file.write(chunk)
            if written != member.size:
                raise UnpackError(f"{shown(name)} ends early")
            os.fchown(handle, member.uid, member.gid)
            os.fchmod(handle, member.mode)
            os.utime(handle, (member.mtime, member.mtime))

    def _make_link(self, folder: int, name: str, member: Member) -> None:
        if not member.source:
            raise UnpackError(f"{shown(name)} is a hard link to the root")
        if member.source == member.path:
            raise UnpackError(f"{shown(name)} is a hard link to itself")
        *parents, source = member.source
        there = self._open(tuple(parents), make=False)
        try:
            mode = _mode_of(there, source)
            if mode is None or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise UnpackError(
                    f"{shown(name)} is a hard link to {shown('/'.join(member.source))}, which is no file here"
                )
            self._clear(folder, name, member)
            os.link(source, name, src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(there)

    def _make_whiteout(self, folder: int, name: str, member: Member) -> None:
        """A whiteout hides lower layers only: a name that this layer has itself stays, a directory becomes opaque."""
        found = _mode_of(folder, name)
        if found is None:
            os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=folder)
        elif stat.S_ISDIR(found):
            self.opaque.add("/".join(member.path))

    def _clear(self, folder: int, name: str, member: Member) -> None:
        """A later entry of the same name replaces the earlier one, but never a directory."""
        found = _mode_of(folder, name)
        if found is None:
            return
        if stat.S_ISDIR(found):
            raise UnpackError(f"{shown('/'.join(member.path))} is listed as a directory and as something else")
        os.unlink(name, dir_fd=folder)

    def _directory(self, path: tuple[str, ...]) -> int:
        if self._parent != path:
            self.close()
            self._handle = self._open(path, make=True)
            self._parent = path
        return self._handle

    def _open(self, path: tuple[str, ...], *, make: bool) -> int:
        """Parents that the layer does not list are made plain: 0755, root's."""
        handle = os.dup(self._root)
        try:
            for part in path:
                mode = _mode_of(handle, part)
                if mode is not None and stat.S_ISCHR(mode) and make:
                    raise UnpackError(f"{shown('/'.join(path))} lies below something that the same layer removes")
                if mode is not None and not stat.S_ISDIR(mode):
                    raise UnpackError(f"{shown('/'.join(path))} leads through something that is not a directory")
                if mode is None:
                    if not make:
                        raise UnpackError(f"{shown('/'.join(path))} does not exist in this layer")
                    os.mkdir(part, 0o755, dir_fd=handle)
                below = os.open(part, _DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = below
        except BaseException:
            os.close(handle)
            raise
        return handle

    @staticmethod
    def _own(folder: int, name: str, member: Member) -> None:
        os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        handle = os.open(name, _DIRECTORY, dir_fd=folder)
        try:
            os.fchmod(handle, member.mode)
        finally:
            os.close(handle)


def _mode_of(folder: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
