"""Folders of installed wheels for a guest, made on this machine by pip for the guest's platform and Python."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lab_images import CACHE_FOLDER, REPOSITORY

GUEST_PYTHON = "3.11"
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
# Newest first is not needed: pip takes any; Debian 12 has glibc 2.36.
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")


class WheelhouseError(Exception):
    """pip found no wheels for the guest's platform, or could not install them."""


class Wheelhouse(Protocol):
    """The fixture: makes, or finds, the folder of an architecture; without requirements: of the extra `edge`."""

    def __call__(self, architecture: str, requirements: Sequence[str] | None = None) -> Path: ...


def edge_requirements() -> list[str]:
    """What an edge host installs: the extra `edge` of the project."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [str(requirement) for requirement in project["optional-dependencies"]["edge"]]


def wheel_folder(architecture: str, requirements: Sequence[str]) -> Path:
    """A folder for PYTHONPATH that holds the requirements for `architecture`; made once, then found in the cache.

    Only wheels are taken: nothing is built, so nothing runs. Raises WheelhouseError with pip's own words.
    """
    key = hashlib.sha256("\n".join([GUEST_PYTHON, *PLATFORMS, *sorted(requirements)]).encode()).hexdigest()[:16]
    folder = CACHE_FOLDER / "wheels" / architecture / key
    if folder.is_dir():
        return folder
    draft = folder.with_name(f"{key}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(_pip_command(architecture, requirements, draft), capture_output=True, text=True, check=False)
    if done.returncode:
        raise WheelhouseError(f"pip ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    draft.rename(folder)
    return folder


def _pip_command(architecture: str, requirements: Sequence[str], target: Path) -> list[str]:
    # No --abi: it would refuse the abi3 wheels of cryptography.
    platforms = [f"--platform={platform}_{MACHINE[architecture]}" for platform in PLATFORMS]
    options = ["--quiet", "--only-binary=:all:", f"--python-version={GUEST_PYTHON}", "--implementation=cp"]
    return [sys.executable, "-m", "pip", "install", f"--target={target}", *options, *platforms, *requirements]
