"""The parts of the lab that need no guest."""

import subprocess
import sys
from pathlib import Path

import pytest
from apt_sources import NoMirrorError, guest_sources
from image_kernel import KernelFormatError, unpack_bzimage
from lab_images import LAB_FOLDER, LabImage
from qemu_command import HostFiles, HostSpec, qemu_command

SOURCES_FILES = {
    "one-line files": {
        "sources.list": "# ours\ndeb [arch=amd64] http://mirror.test/debian bookworm main contrib # nearest\n"
        "deb-src http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian bookworm-updates main\n",
        "sources.list.d/other.list": "deb [signed-by=/k/vendor.gpg] http://vendor.test/apt bookworm main\n",
    },
    "deb822 files": {
        "sources.list.d/debian.sources": "Types: deb\n# a remark\nURIs: http://mirror.test/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n"
        " /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb\nEnabled: no\nURIs: http://off.test/debian\nSuites: bookworm\nComponents: main\n",
        "sources.list.d/vendor.sources": "Types: deb\nURIs: http://vendor.test/apt\n"
        "Suites: bookworm\nComponents: stable\n",
    },
}


@pytest.mark.parametrize("files", SOURCES_FILES.values(), ids=SOURCES_FILES)
def test_the_guests_come_from_the_machines_own_debian_mirror(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert guest_sources(tmp_path) == [f"deb [signed-by={keyring}] http://mirror.test/debian bookworm main"]


def test_a_machine_without_a_debian_mirror_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NoMirrorError, match="has the suite bookworm with the component main"):
        guest_sources(tmp_path)


@pytest.mark.parametrize("image", [b"", b"\x7fELF" + bytes(4096), bytes(0x202) + b"HdrS" + bytes(4096)])
def test_a_kernel_of_another_form_is_refused(image: bytes) -> None:
    with pytest.raises(KernelFormatError):
        unpack_bzimage(image)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_guest_is_emulated_in_software_and_walled_in(architecture: str) -> None:
    files, image = HostFiles(Path("/lab")), LabImage(Path("/kernel"), Path("/initrd"), Path("/disk"))
    spec = HostSpec(architecture, forwards={8883: 40001})
    command = qemu_command(spec, files, image, clock=None, busybox="/bin/busybox")
    assert command[command.index("-accel") + 1].startswith("tcg,")
    assert command[command.index("-netdev") + 1] == (
        "user,id=net0,restrict=on,ipv6=off,guestfwd=tcp:10.0.2.100:8883-cmd:/bin/busybox nc 127.0.0.1 40001"
    )


def test_preparing_needs_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-S", str(LAB_FOLDER / "prepare_lab.py"), "riscv64"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "prepare_lab: unknown architecture riscv64\n")
