"""Named volumes: each a file system of its own in a file of its own size, mounted through a loop device. Starter only.

The file takes all its room when it is made: what was promised is there, and a volume that is full is full for its app
alone. It stays mounted until the app leaves this host, or the host goes down.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_daemon.keeper.runtime import mounts, programs, syscalls
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.layout import Layout
from edge_daemon.sealed import VolumeMount
from fleet_protocol.wire.durable import rename_durably

KEPT_FREE = 64 << 20
"""No volume is made or enlarged that would leave less than this on the host's file system."""
MEND_SECONDS = 30.0
OPTIONS = "loop,nosuid,nodev,noatime"
LOOP_CONTROL = "/dev/loop-control"


def make_ready(layout: Layout, app: str, volume: VolumeMount, uid: int, gid: int) -> None:
    """Make, enlarge and mount it, as far as that is still to be done. A new one belongs to `uid` and `gid`.

    It never shrinks: one with a lower quota than before keeps its size.
    """
    folder = f"{layout.volumes}/{app}"
    path = f"{folder}/{volume['name']}"
    os.makedirs(folder, 0o711, exist_ok=True)
    quota = volume.get("quota_bytes")
    with _lock(layout, app):
        if quota is None or _is_plain(path):
            _make_plain(path, uid, gid)
            return
        image = f"{path}.img"
        if not os.path.exists(image):
            _make(image, quota, uid, gid)
        elif os.stat(image).st_size < quota or (source_of(path) is None and _cut_short(image)):
            _enlarge(image, path, quota)
        if source_of(path) is None:
            os.makedirs(path, 0o755, exist_ok=True)
            _mount(image, path)


def unmount_others(layout: Layout, apps: set[str]) -> None:
    """Unmount the volumes of apps not in `apps`; what is busy stays. Nothing in them is touched."""
    for point in reversed(mounts.mount_points(str(layout.volumes))):
        if Path(point).relative_to(layout.volumes).parts[0] not in apps:
            with suppress(OSError):
                syscalls.umount(point, syscalls.UMOUNT_NOFOLLOW)


def source_of(path: str, mountinfo: str = "/proc/self/mountinfo") -> str | None:
    """The device that is mounted there, or None."""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if left.split(" ")[4].replace("\\040", " ") == path:
                return right.split(" ")[1]
    return None


def _is_plain(path: str) -> bool:
    """One without a quota, that holds something: it stays what it is."""
    return not os.path.exists(f"{path}.img") and os.path.isdir(path) and bool(os.listdir(path))


def _make_plain(path: str, uid: int, gid: int) -> None:
    if os.path.isdir(path):
        return
    with suppress(FileNotFoundError):
        os.rmdir(f"{path}.new")  # of a start that was cut short
    os.mkdir(f"{path}.new", 0o755)
    os.chmod(f"{path}.new", 0o755)  # noqa: S103 - whatever our umask
    os.chown(f"{path}.new", uid, gid)
    rename_durably(Path(f"{path}.new"), Path(path))


def _make(image: str, quota: int, uid: int, gid: int) -> None:
    draft = f"{image}.new"
    try:
        _take_room(draft, quota, os.O_CREAT | os.O_TRUNC)
        # Not trimmed: that would give the room back. Nothing is kept for root: nobody is root in it.
        options = ["-E", f"nodiscard,root_owner={uid}:{gid}", "-m", "0"]
        _do("made", image, ["mkfs.ext4", "-q", "-F", *options, draft])
        handle = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        rename_durably(Path(draft), Path(image))
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _enlarge(image: str, path: str, quota: int) -> None:
    """While nobody uses it: the services of a revision start after those of the one before have gone."""
    if source_of(path) is not None:
        try:
            syscalls.umount(path, syscalls.UMOUNT_NOFOLLOW)
        except OSError as error:
            words = f"its volume {_name(path)} is in use and cannot be enlarged: {error.strerror}"
            raise RuntimeFailedError(words, retry=True) from error
    _take_room(image, max(quota, os.stat(image).st_size), 0)
    _mend(image, "-fp")
    _do("enlarged", image, ["resize2fs", image])


def _cut_short(image: str) -> bool:
    """Whether the file is larger than the file system in it: the host went down while it was enlarged."""
    with open(image, "rb") as file:
        superblock = file.read(2048)[1024:]
    blocks = int.from_bytes(superblock[4:8], "little") | int.from_bytes(superblock[0x150:0x154], "little") << 32
    return os.stat(image).st_size > blocks * (1024 << min(6, int.from_bytes(superblock[24:28], "little")))


def _take_room(path: str, size: int, flags: int) -> None:
    """Make the file that long, with every block of it on the disk."""
    has = os.stat(path).st_blocks * 512 if os.path.exists(path) and not flags else 0
    disk = os.statvfs(os.path.dirname(path))
    free = disk.f_bavail * disk.f_frsize
    if size - has > free - KEPT_FREE:
        gives = max(0, free - KEPT_FREE) // (1 << 20)
        raise RuntimeFailedError(
            f"its volume {_name(path)} needs {(size - has) >> 20} MiB, and the disk has {gives} MiB to give",
            retry=True,
            hint="free space on the host, or lower the volume's quota",
        )
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
        os.fsync(handle)
    finally:
        os.close(handle)


def _mount(image: str, path: str) -> None:
    _mend(image, "-p")
    if not os.path.exists(LOOP_CONTROL):  # without udev nobody has loaded the driver; that mount fails says the rest
        programs.run(["modprobe", "loop"], seconds=MEND_SECONDS)
    _do("mounted", image, ["mount", "-t", "ext4", "-o", OPTIONS, image, path])
    with suppress(OSError):
        os.rmdir(f"{path}/lost+found")


def _mend(image: str, how: str) -> None:
    checked = programs.run(["e2fsck", how, image], seconds=MEND_SECONDS)
    if checked.status not in (0, 1):
        raise RuntimeFailedError(f"its volume {_name(image)} is damaged: {checked.words()}", hint=f"e2fsck {image}")


def _do(done: str, path: str, argv: list[str]) -> None:
    finished = programs.run(argv, seconds=MEND_SECONDS)
    if finished.status != 0:
        raise RuntimeFailedError(
            f"its volume {_name(path)} could not be {done}: {finished.words()}",
            retry=True,
            hint="a volume with a quota needs ext4, loop devices (modprobe loop) and the package e2fsprogs",
        )


def _name(path: str) -> str:
    return os.path.basename(path).partition(".")[0]


@contextmanager
def _lock(layout: Layout, app: str) -> Iterator[None]:
    """Services of one app may share a volume, and start at the same time."""
    os.makedirs(f"{layout.run}/locks", 0o700, exist_ok=True)
    handle = os.open(f"{layout.run}/locks/volumes-{app}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
