"""What a host is, as plain values. Nothing here looks at a host; see `edge_daemon.posture.collect`."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class CgroupMode(StrEnum):
    """How control groups are mounted."""

    V2 = "v2"
    V1 = "v1"
    HYBRID = "hybrid"  # v1 controllers, and a v2 hierarchy beside them
    NONE = "none"


class Program(NamedTuple):
    """A program that we rely on."""

    path: str
    version: str  # as it names itself, e.g. "1.1.5+ds1"
    package: str = ""  # the distribution's revision, where the program tells it, e.g. "1.1.5+ds1-1+deb12u1"


class Facts(NamedTuple):
    """One look at one host."""

    kernel: str = ""
    machine: str = ""
    model: str = ""  # of the board, from the device tree; "" on a PC
    command_line: str = ""  # of the kernel
    boot_line_file: str = ""  # the file that a Raspberry Pi's command line is made from, where there is one
    boot_line: str = ""
    is_root: bool = True
    cgroup_mode: CgroupMode = CgroupMode.NONE
    controllers: frozenset[str] = frozenset()  # usable ones, by their v1 names in v1 and v2 names in v2
    disabled_controllers: frozenset[str] = frozenset()  # known to the kernel, switched off at boot
    swap_accounting: bool | None = None  # None: could not be seen
    swap_bytes: int = 0
    memory_bytes: int = 0
    max_user_namespaces: int | None = None  # None: the kernel has none
    overlayfs: bool = False
    loop_devices: bool = False
    seccomp_filter: bool = False
    network_namespaces: bool = False
    programs: tuple[tuple[str, Program], ...] = ()
    cni_folder: str = ""
    cni_plugins: frozenset[str] = frozenset()
    now: int = 0
    state_folder: str = ""
    free_bytes: int = 0

    def program(self, name: str) -> Program | None:
        """The program of that name, or None."""
        return dict(self.programs).get(name)
