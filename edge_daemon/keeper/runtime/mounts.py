"""The root file system of a container: an overlay over unpacked layers. Starter only.

Upper and work directories lie on a small tmpfs of their own: it bounds what a container can write there, charges it to
the container's memory, vanishes as a whole, and works where the run directory is itself on an overlay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edge_daemon.keeper.runtime import syscalls
from edge_daemon.keeper.runtime.errors import RuntimeFailedError

READ_ONLY_UPPER_BYTES = 1 << 20  # the runtime makes mount points in it, nothing else
UPPER_INODES = 8192


def mount_root(folder: str, layers: list[str], *, owner: int, group: int, upper_bytes: int) -> None:
    """Mount `<folder>/rootfs` from layer directories, bottom first. `owner` is the shifted root of the container.

    The options of a mount are cut at 4096 bytes, so layers are named by short links relative to the working directory;
    overlayfs takes up to 500 of them that way.
    """
    links, scratch, root = f"{folder}/lower", f"{folder}/scratch", f"{folder}/rootfs"
    for path in (links, scratch, root):
        os.mkdir(path, 0o711)
    for number, layer in enumerate(reversed(layers)):
        if not os.path.isdir(layer):
            raise RuntimeFailedError(f"the unpacked layer {os.path.basename(layer)[:12]} is missing", retry=True)
        os.symlink(layer, f"{links}/{number}")
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    try:
        size = f"size={upper_bytes},nr_inodes={UPPER_INODES},mode=0711"
        syscalls.mount("tmpfs", scratch, "tmpfs", flags, size)
        for name in ("upper", "work"):
            os.mkdir(f"{scratch}/{name}", 0o755)
        os.chown(f"{scratch}/upper", owner, group)  # the root directory of an overlay is its upper directory
        options = (
            f"lowerdir={':'.join(str(n) for n in range(len(layers)))},upperdir=../scratch/upper,workdir=../scratch/work"
        )
        with _working_directory(links):
            syscalls.mount("overlay", root, "overlay", flags, options)
    except OSError as error:
        raise RuntimeFailedError(f"the root file system could not be mounted: {error.strerror}") from error


@contextmanager
def _working_directory(path: str) -> Iterator[None]:
    back = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(path)
    try:
        yield
    finally:
        os.fchdir(back)
        os.close(back)


def unmount_below(folder: str) -> None:
    """Unmount everything at or below `folder`, the newest first; what is busy goes when its last user does."""
    for point in reversed(mount_points(folder)):
        try:
            syscalls.umount(point, syscalls.UMOUNT_NOFOLLOW)
        except OSError:
            with suppress(OSError):
                syscalls.umount(point, syscalls.UMOUNT_NOFOLLOW | syscalls.MNT_DETACH)


def mount_points(folder: str, mountinfo: str = "/proc/self/mountinfo") -> list[str]:
    """Mount points at or below `folder`, in the order of mounting."""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ", 5)[4].replace("\\040", " ") for line in file]
    return [point for point in points if point == folder or point.startswith(folder + "/")]
