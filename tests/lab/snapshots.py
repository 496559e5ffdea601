"""Boots each kind of guest once, and keeps it as a snapshot that every test's host is a twin of."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge_host import SYSTEMD, EdgeHost
from lab_images import REPOSITORY
from qemu_command import HostSpec, Share

MEMORY_DISK = Path("/dev/shm")
WANTED_BYTES = 4 * 2**30
# Left in the guest's page cache by the snapshot, so that no test pays for reading it from the emulated disk.
WARM_UP = "python3 -c 'import json, selectors, sqlite3, ssl'; runc --version; crun --version; conmon --version"


def scratch_folder(kind: str) -> Path:
    """A new folder that names this process; in memory where there is room."""
    return Path(tempfile.mkdtemp(prefix=f"lab-{kind}-{os.getpid()}-", dir=_scratch_parent()))


def sweep_scratch() -> None:
    """Remove the scratch folders of test runs that were killed, known by their process being gone."""
    for folder in _scratch_parent().glob("lab-*-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _scratch_parent() -> Path:
    roomy = MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > WANTED_BYTES
    return MEMORY_DISK if roomy else Path(tempfile.gettempdir())


def shares(wheels: Path, exchange: Path) -> tuple[Share, ...]:
    """What every guest can mount; a twin needs the same tags as its snapshot."""
    return (
        Share("source", REPOSITORY),
        Share("wheels", wheels),
        Share("exchange", exchange, cached=False),
    )


class StartEdgeHost(Protocol):
    """The fixture: gives a running twin, with its shares mounted; it is gone when the test ends.

    `forwards` maps ports at server.lab, as the guest sees them, to ports on this machine's 127.0.0.1.
    """

    def __call__(self, *, forwards: Mapping[int, int] | None = None, init: str | None = None) -> EdgeHost: ...


class Snapshots:
    """The saved disks of a test session, by architecture and init."""

    def __init__(self) -> None:
        self._folder = scratch_folder("snapshots")
        self._saved: dict[tuple[str, str | None], Path] = {}

    def disk(self, spec: HostSpec) -> Path:
        """The disk to restore a host like `spec` from; booted and saved on first use."""
        kind = (spec.architecture, spec.init)
        if kind not in self._saved:
            folder = self._folder / f"{spec.architecture}-{'systemd' if spec.init else 'init'}"
            folder.mkdir()
            self._saved[kind] = _boot_and_save(spec, folder)
        return self._saved[kind]

    def close(self) -> None:
        """Drop all snapshots."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _boot_and_save(spec: HostSpec, folder: Path) -> Path:
    with EdgeHost(spec, folder) as host:
        host.start()
        if spec.init == SYSTEMD:
            host.run("systemctl is-system-running --wait", timeout=180.0)
        host.run(WARM_UP).check()
        return host.save()
