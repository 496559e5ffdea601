"""Where the lab's images stand, and the key that says which build inputs they were made from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

LAB_FOLDER = Path(__file__).resolve().parent
REPOSITORY = LAB_FOLDER.parent.parent
CACHE_FOLDER = REPOSITORY / ".cache" / "lab"
ARCHITECTURES = ("amd64", "arm64")
BUILD_INPUTS = ("apt_sources.py", "build_image.py", "image_kernel.py", "image_tree.py", "guest/*")


class LabImageMissingError(Exception):
    """The image of an architecture was not built from the present inputs."""


@dataclass(frozen=True, slots=True)
class LabImage:
    """What one guest boots from. `disk` is a raw ext4 file system, and never written to."""

    kernel: Path
    initrd: Path
    disk: Path


def build_key() -> str:
    """Sixteen hexadecimal digits that change when any file of the build changes."""
    digest = hashlib.sha256()
    for pattern in BUILD_INPUTS:
        for path in sorted(LAB_FOLDER.glob(pattern)):
            if path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(LAB_FOLDER)} {content}\n".encode())
    return digest.hexdigest()[:16]


def image_folder(architecture: str) -> Path:
    """The folder of that architecture's image, which need not exist yet."""
    return CACHE_FOLDER / architecture / build_key()


def image_in(folder: Path) -> LabImage:
    """The names of the parts of an image in `folder`."""
    return LabImage(folder / "kernel", folder / "initrd.cpio", folder / "disk.img")


def find_image(architecture: str) -> LabImage:
    """The image to boot; raises LabImageMissingError with the command that builds it."""
    folder = image_folder(architecture)
    if not folder.is_dir():
        raise LabImageMissingError(f"no {architecture} image in {folder}: run python3 tests/lab/prepare_lab.py")
    return image_in(folder)
