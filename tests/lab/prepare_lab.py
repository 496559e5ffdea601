"""Make this machine ready for the lab: `python3 tests/lab/prepare_lab.py [amd64] [arm64]`.

Installs the missing packages and builds the missing images; does nothing when all is there. Needs root.
Standard library only. Ends with status 1 and one sentence when the lab cannot be made ready.
"""

import fcntl
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apt_sources import NoMirrorError, guest_sources
from build_image import build_image
from image_kernel import KernelFormatError
from lab_images import ARCHITECTURES, CACHE_FOLDER, image_folder
from prerequisites import PrerequisiteError, install_prerequisites


def main(arguments: list[str]) -> int:
    """Prepare the named architectures, or all of them."""
    architectures = arguments or list(ARCHITECTURES)
    if unknown := set(architectures) - set(ARCHITECTURES):
        print(f"prepare_lab: unknown architecture {min(unknown)}", file=sys.stderr)
        return 2
    try:
        for package in install_prerequisites():
            print(f"prepare_lab: installed {package}")
        with _only_one_at_a_time():
            for architecture in architectures:
                ensure_image(architecture)
    except (PrerequisiteError, NoMirrorError, KernelFormatError) as error:
        print(f"prepare_lab: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "")[-3000:]
        print(f"prepare_lab: {error.cmd[0]} ended with status {error.returncode}\n{said}", file=sys.stderr)
        return 1
    return 0


def ensure_image(architecture: str) -> None:
    """Build the image unless it is there, and drop those of older inputs."""
    folder = image_folder(architecture)
    if folder.is_dir():
        print(f"prepare_lab: {architecture} image is there ({folder.name})")
        return
    began = time.monotonic()
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    build_image(architecture, guest_sources(), draft)
    draft.rename(folder)
    print(f"prepare_lab: {architecture} image built in {time.monotonic() - began:.0f} s ({folder.name})")
    _drop_older(folder)


def _drop_older(folder: Path) -> None:
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    """Hold a lock, so that two runs at once do not build into one folder."""
    CACHE_FOLDER.mkdir(parents=True, exist_ok=True)
    with (CACHE_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
