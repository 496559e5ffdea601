"""Builds one guest image: a kernel, a small initrd and a raw ext4 disk of Debian 12, for either architecture.

The packages are only extracted. No maintainer script runs, so no foreign code does either, and an ARM image
takes no longer on an x86 machine than an x86 one (11 s to fetch and extract 300 packages).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from image_kernel import keep_needed_modules, pack_initrd, take_kernel
from image_tree import extract_packages, install_guest_files, settle, trim
from lab_images import image_in
from prerequisites import find_command

DISK_BYTES = 6 * 2**30  # sparse: what is not written takes no room
BUILD_BYTES = 3 * 2**30
MEMORY_DISK = Path("/dev/shm")


def build_image(architecture: str, sources: list[str], target: Path) -> None:
    """Fill the folder `target` with the image of `architecture`, from packages of `sources` (one-line form).

    Raises subprocess.CalledProcessError, with the tool's own words, when a step fails.
    """
    image = image_in(target)
    with tempfile.TemporaryDirectory(prefix="lab-image-", dir=_scratch_folder()) as scratch:
        root = Path(scratch) / "root"
        extract_packages(architecture, sources, root)
        settle(root)
        install_guest_files(root)
        version = take_kernel(root, architecture, image.kernel)
        keep_needed_modules(root, version)
        pack_initrd(root, version, Path(scratch) / "initrd", image.initrd)
        trim(root)
        compile_python(root)
        pack_disk(root, image.disk)


def _scratch_folder() -> Path | None:
    """Memory where there is plenty, which halves the time; else the default folder for temporary files."""
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > BUILD_BYTES:
        return MEMORY_DISK
    return None


def compile_python(root: Path) -> None:
    """Put the guest's own .pyc files in place, so that no first import in the guest has to compile.

    Any CPython 3.11 writes what the guest's reads. Without one here, the guest compiles, and is only slower.
    """
    python = sys.executable if sys.version_info[:2] == (3, 11) else find_command("python3.11")
    if python is None:
        return
    libraries = [str(root / "usr/lib/python3.11"), str(root / "usr/lib/python3")]
    # Its status is 1 when any one file does not compile (lib2to3's bad examples): not a failure of ours.
    subprocess.run(
        [python, "-W", "ignore", "-m", "compileall", "-q", "-j0", "-s", str(root), "-p", "/", *libraries],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def pack_disk(root: Path, disk: Path) -> None:
    """Write the tree `root` as an ext4 file system into the file `disk`."""
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    mke2fs = find_command("mke2fs") or "mke2fs"
    options = ["-q", "-F", "-t", "ext4", "-L", "root", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"]
    subprocess.run([mke2fs, *options, "-d", str(root), str(disk)], check=True, capture_output=True, text=True)
    disk.chmod(0o444)
