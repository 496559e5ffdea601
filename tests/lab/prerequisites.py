"""The Debian packages that the lab needs on the machine it runs on, and how to install those that are missing.

Standard library only: this runs before any virtual environment exists.
"""

import os
import shutil
import subprocess
import sys

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# A command that the lab runs, and the Debian package that brings it.
PACKAGE_OF_COMMAND = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "modprobe": "kmod",
    "cpio": "cpio",
    "busybox": "busybox-static",
    "setpriv": "util-linux",
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
}


class PrerequisiteError(Exception):
    """A command of the lab is missing and could not be installed."""


def find_command(command: str) -> str | None:
    """Where `command` stands, also in the sbin folders that an ordinary PATH leaves out."""
    return shutil.which(command, path=os.environ.get("PATH", "") + ":" + SYSTEM_PATH)


def missing_packages() -> list[str]:
    """The packages whose command is not on this machine, in the order of the table."""
    return [package for command, package in PACKAGE_OF_COMMAND.items() if find_command(command) is None]


def install_prerequisites() -> list[str]:
    """Install what is missing with apt-get and return it; raise PrerequisiteError when that cannot be done."""
    missing = missing_packages()
    if not missing:
        return []
    wanted = " ".join(missing)
    if find_command("apt-get") is None:
        raise PrerequisiteError(f"the lab needs {wanted}, and this machine has no apt-get to install them")
    if os.geteuid() != 0:
        raise PrerequisiteError(f"the lab needs {wanted}: run as root, apt-get install {wanted}")
    _apt_get("update", "-q")
    _apt_get("install", "-q", "-y", "--no-install-recommends", *missing)
    if still := missing_packages():
        raise PrerequisiteError(f"apt-get ended well, but these are still missing: {' '.join(still)}")
    return missing


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise PrerequisiteError(f"apt-get {arguments[0]} ended with status {done.returncode}:\n{said}")


if __name__ == "__main__":
    try:
        print("installed:", " ".join(install_prerequisites()) or "nothing, all is there")
    except PrerequisiteError as error:
        sys.exit(f"prerequisites: {error}")
