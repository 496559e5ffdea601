"""Network namespaces of services: made as a bound file, set up from the inside, left again. Starter only."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edge_daemon.keeper.runtime import syscalls
from edge_daemon.keeper.runtime.errors import RuntimeFailedError

SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCBRDELBR = 0x8913, 0x8914, 0x89A1
IFF_UP = 1
# Without capabilities a service could not listen on port 80 nor answer a ping of its own; both end at its namespace.
SYSCTLS = {"ipv4/ip_unprivileged_port_start": "0", "ipv4/ping_group_range": "0 2147483647"}


@contextmanager
def inside(path: str | None) -> Iterator[None]:
    """Run the body in the namespace bound at `path`, or in a new one (None), and come back."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if path is None:
            syscalls.unshare_network()
        else:
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.enter_network(there)
            finally:
                os.close(there)
        try:
            yield
        finally:
            syscalls.enter_network(home)
    finally:
        os.close(home)


def make(path: str, sysfs: str) -> None:
    """Make a namespace held by the file `path`, loopback up, and mount its own view of sysfs, read-only."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400))
    try:
        with inside(None):
            syscalls.mount("/proc/thread-self/ns/net", path, "", syscalls.MS_BIND)
            set_up("lo", up=True)
            for name, value in SYSCTLS.items():
                write_sysctl(name, value)
            mount_sysfs(sysfs)
    except OSError as error:
        destroy(path)
        raise RuntimeFailedError(f"a network namespace could not be made: {error.strerror}") from error


def mount_sysfs(target: str) -> None:
    """Mount sysfs of the present network namespace on `target`, read-only; it holds no cgroup mounts."""
    flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("sysfs", target, "sysfs", flags)


def destroy(path: str) -> None:
    """Let the namespace go, its interface first: until the kernel cleans up, it would answer for its address."""
    with suppress(OSError), inside(path):
        set_up("eth0", up=False)
    with suppress(OSError):
        syscalls.umount(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
    with suppress(FileNotFoundError):
        os.unlink(path)


def write_sysctl(name: str, value: str) -> None:
    """Set a sysctl below net/ of the present network namespace; one that this kernel does not have is left."""
    with suppress(FileNotFoundError), open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:
        file.write(value)


def set_up(interface: str, *, up: bool) -> None:
    """Bring an interface of the present namespace up or down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("16sH14x", interface.encode(), 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags))


def delete_bridge(name: str) -> None:
    """Take a bridge down and away; one that is not there is no error."""
    with suppress(OSError):
        set_up(name, up=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            fcntl.ioctl(control, SIOCBRDELBR, name.encode() + b"\0")
