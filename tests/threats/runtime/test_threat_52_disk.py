"""A container that writes all it can: to its root, to its temporary directories, to its log."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from runtime_support import LIMITS, World, wait_for

from edge_daemon.sealed import LimitValues, VolumeMount

pytestmark = pytest.mark.alone  # it counts what is free on the whole disk


def test_threat_52_a_read_only_root_takes_nothing(host: World) -> None:
    spec = host.app(
        "evil", host.service("evil", "w", ["/bin/sh", "-c", "echo x > /file; echo $?; touch /etc/x; echo $?"])
    )["w"]
    host.runtime.start(spec)
    host.ended("evil", "w")
    assert host.log("evil", "w").count("Read-only file system") == 2


def test_threat_52_a_writable_root_is_bounded_in_bytes_and_files_and_gone_after_removal(host: World) -> None:
    flood = (
        "i=0; while touch /f$i 2>/dev/null; do i=$((i+1)); [ $i -gt 20000 ] && break; done; echo files $i; sleep 1000"
    )
    service = host.service("evil", "w", ["/bin/sh", "-c", flood], read_only=False, limits={
        "memory_bytes": 128 << 20, "cpu_millis": 1000, "cpu_weight": 100, "pids": 32, "nofile": 256,
    })  # fmt: skip
    free_before = os.statvfs(host.base).f_ffree
    host.runtime.start(host.app("evil", service)["w"])
    said = host.says("evil", "w", "files", 60)
    assert int(said.split()[-1]) <= 8192
    assert free_before - os.statvfs(host.base).f_ffree < 500
    host.runtime.remove("evil", "w")
    assert not host.layout.container("evil", "w").exists()


def test_threat_52_temporary_directories_are_sized(host: World) -> None:
    fill = ["/bin/sh", "-c", "for d in /tmp /run /dev/shm; do dd if=/dev/zero of=$d/x bs=1M count=50; rm $d/x; done"]
    limits: LimitValues = {**LIMITS, "memory_bytes": 128 << 20}
    host.runtime.start(host.app("evil", host.service("evil", "w", fill, limits=limits))["w"])
    host.ended("evil", "w")
    assert host.log("evil", "w").count("No space left on device") == 3


def test_threat_52_endless_output_stays_within_the_logs_room(host: World) -> None:
    spec = host.app("evil", host.service("evil", "w", ["/bin/yes", "all work and no play makes jack a dull boy"]))["w"]
    host.runtime.start(spec)
    log = host.layout.logs / "evil" / "w"
    wait_for(lambda: (host.runtime.usage("evil", "w").cpu_usec or 0) > 50_000, 20, "much output")
    rooms = [0]
    for _ in range(50):  # one look may meet a log that was just begun anew
        rooms.append(_room(log))
        time.sleep(0.02)
    assert 0 < max(rooms) <= 64 * 1024 + 8192


def test_threat_52_a_volume_that_is_full_is_full_for_its_app_alone(host: World) -> None:
    before = os.statvfs(host.base)
    junk: VolumeMount = {"name": "data", "target": "/data", "read_only": False, "quota_bytes": 16 << 20}
    fill = ["/bin/sh", "-c", "while :; do dd if=/dev/zero of=/data/$RANDOM bs=1M count=64; done"]
    host.runtime.start(host.app("evil", host.service("evil", "w", fill, network="none", volumes=[junk]))["w"])
    host.says("evil", "w", "No space left on device")
    after = os.statvfs(host.base)
    assert (before.f_bavail - after.f_bavail) * after.f_frsize < 48 << 20
    write = ["/bin/sh", "-c", "dd if=/dev/zero of=/data/mine bs=1M count=8 && echo written"]
    host.runtime.start(host.app("calm", host.service("calm", "w", write, network="none", volumes=[junk]))["w"])
    host.says("calm", "w", "written")
    assert host.seen("evil", "w").pid is not None


def _room(folder: Path) -> int:
    """Bytes of all files; one that conmon replaces while we look is looked at again."""
    for _ in range(100):
        with suppress(FileNotFoundError):
            return sum(file.stat().st_size for file in folder.iterdir())
    raise AssertionError("the log is replaced faster than it can be looked at")
