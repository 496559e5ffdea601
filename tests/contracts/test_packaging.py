"""The unit files: systemd accepts them, and what the daemon needs of its unit is in it."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
MOUNT_NAMESPACE = (
    "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectSystem", "ProtectHome", "ProtectKernelTunables",
    "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ReadOnlyPaths", "ReadWritePaths",
    "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "RootDirectory", "RootImage",
    "MountAPIVFS", "DynamicUser", "ProtectProc", "ProcSubset",
)  # fmt: skip


def section(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PACKAGING / name)
    return parser["Service"]


@pytest.mark.parametrize("unit", ["edge-daemon.service", "fleet-server.service"])
def test_systemd_finds_no_fault(unit: str) -> None:
    command = ["systemd-analyze", "verify", "--man=no", "--generators=no", str(PACKAGING / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if unit in line]
    assert said == []


def test_the_daemons_unit_gives_it_no_mount_namespace_and_leaves_containers_running() -> None:
    service = section("edge-daemon.service")
    assert [key for key in MOUNT_NAMESPACE if key in service] == []
    assert (service["KillMode"], service["Delegate"], service["Type"]) == ("process", "yes", "notify")


def test_the_servers_unit_is_closed() -> None:
    service = section("fleet-server.service")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
