"""Calls that reach the kernel's dangerous parts, made inside a real container by perl, which every Debian has."""

from __future__ import annotations

import errno
import platform
import shutil
import subprocess
from pathlib import Path

from runtime_support import World, shift

NEW_USER = 0x10000000
CALLS: dict[str, tuple[int, int, tuple[int, ...]]] = {  # name -> number on x86-64, on arm64, arguments
    "io_uring_setup": (425, 425, (1, 0)),
    "io_uring_enter": (426, 426, ()),
    "bpf": (321, 280, ()),
    "keyctl": (250, 219, (0, -3, 0)),  # asks for a key ring of its own: allowed to anybody without a filter
    "add_key": (248, 217, ()),
    "request_key": (249, 218, ()),
    "mount": (165, 40, ()),
    "umount2": (166, 39, ()),
    "unshare": (272, 97, (NEW_USER,)),  # allowed to anybody without a filter
    "clone": (56, 220, (NEW_USER | 17,)),
    "clone3": (435, 435, ()),
    "setns": (308, 268, ()),
    "fsopen": (430, 430, ()),
    "open_tree": (428, 428, ()),
    "move_mount": (429, 429, ()),
    "mount_setattr": (442, 442, ()),
    "pivot_root": (155, 41, ()),
    "ptrace": (101, 117, (0,)),  # allowed to anybody without a filter
    "process_vm_readv": (310, 270, ()),
    "perf_event_open": (298, 241, ()),
    "kexec_load": (246, 104, ()),
    "init_module": (175, 105, ()),
    "finit_module": (313, 273, ()),
    "userfaultfd": (323, 282, (1,)),
    "open_by_handle_at": (304, 265, ()),
    "quotactl": (179, 60, ()),
    "swapon": (167, 224, ()),
    "reboot": (169, 142, ()),
}
PROBE = (
    'my ($n, @a) = map { $_ + 0 } split /,/; my $r = syscall($n, @a); print "$n:", $r == -1 ? $!+0 : "allowed", "\\n";'
)


def test_threat_49_dangerous_system_calls_are_refused_inside_a_container(host: World) -> None:
    column = 0 if platform.machine() == "x86_64" else 1
    by_number = {call[column]: name for name, call in CALLS.items()}
    perl_layer(host.layout.layers / "perl")
    words = [",".join(str(n) for n in (call[column], *call[2], *[0] * (5 - len(call[2])))) for call in CALLS.values()]
    probe = ["/usr/bin/perl", "-e", f"for (@ARGV) {{ {PROBE} }}", *words]
    spec = host.app("shop", host.service("shop", "probe", probe, layers=["base", "perl"]))
    host.runtime.start(spec["probe"])
    assert host.ended("shop", "probe").exit_code == 0, host.log("shop", "probe")
    answers = dict(line.split(":") for line in host.log("shop", "probe").splitlines())
    named = {by_number[int(number)]: answer for number, answer in answers.items()}
    assert set(named) == set(CALLS)
    refused = (str(errno.EPERM), str(errno.ENOSYS))
    assert {name: answer for name, answer in named.items() if answer not in refused} == {}
    assert named["clone3"] == str(
        errno.ENOSYS
    )  # so that a C library falls back to clone, whose flags a filter can read


def perl_layer(folder: Path) -> None:
    """perl and the libraries that it needs, from this machine."""
    libraries = subprocess.run(["ldd", "/usr/bin/perl"], capture_output=True, text=True, check=True).stdout
    for path in ("/usr/bin/perl", *(word for word in libraries.split() if word.startswith("/"))):
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        target.chmod(0o755)
    shift(folder)
