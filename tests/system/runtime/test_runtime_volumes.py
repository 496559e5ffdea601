"""Volumes of a size of their own: full for their app alone, kept over starts and a reboot, larger when asked."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest
from runtime_support import MIB, World

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.keeper.runtime import syscalls, volumes
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.sealed import VolumeMount

USER = 1000
COUNT = count()  # no two revisions are the same


def spec(host: World, script: str, quota: int = 8 * MIB, name: str = "web") -> StartSpec:
    volume: VolumeMount = {"name": "data", "target": "/data", "read_only": False, "quota_bytes": quota}
    args = ["/bin/sh", "-c", script, str(next(COUNT))]
    return host.app("shop", host.service("shop", name, args, network="none", volumes=[volume], user=USER))[name]


def run(host: World, script: str, quota: int = 8 * MIB) -> str:
    host.runtime.start(spec(host, script, quota))
    host.ended("shop", "web")
    return host.log("shop", "web").rpartition("begin")[2]


def point(host: World) -> Path:
    return host.layout.volumes / "shop" / "data"


def test_a_volume_is_full_at_its_quota_and_the_host_keeps_its_room(host: World) -> None:
    said = run(host, "echo begin; id -u; dd if=/dev/zero of=/data/big bs=1M count=100; ls /data; echo status $?")
    assert "No space left on device" in said
    assert said.split()[0] == str(USER)
    assert said.split()[-3:] == ["big", "status", "0"]  # nothing but its own is in it
    image = Path(f"{point(host)}.img")
    assert image.stat().st_size == 8 * MIB
    assert 8 * MIB <= image.stat().st_blocks * 512 < 9 * MIB  # all of it was taken when it was made
    assert (image.stat().st_mode & 0o777, image.stat().st_uid) == (0o600, 0)
    assert 4 * MIB < (point(host) / "big").stat().st_size < 8 * MIB


def test_files_without_content_are_bounded_as_well(host: World) -> None:
    free = os.statvfs(host.base).f_ffree
    flood = "echo begin; i=0; while touch /data/f$i 2>/dev/null; do i=$((i+1)); [ $i -gt 9000 ] && break; done; echo $i"
    assert 100 < int(run(host, flood)) < 9000
    assert free - os.statvfs(host.base).f_ffree < 200


def test_what_is_in_it_is_kept_over_starts_and_over_a_reboot(host: World) -> None:
    run(host, "echo kept > /data/file")
    assert "kept" in run(host, "echo begin; cat /data/file")
    host.runtime.remove("shop", "web")
    assert volumes.source_of(str(point(host))) is not None
    syscalls.umount(str(point(host)), 0)  # as after a boot
    assert list(point(host).iterdir()) == []
    assert "kept" in run(host, "echo begin; cat /data/file")


def test_it_grows_with_its_quota_and_never_shrinks(host: World) -> None:
    run(host, "echo kept > /data/file")
    before = os.statvfs(point(host)).f_blocks
    host.runtime.remove("shop", "web")
    said = run(host, "echo begin; cat /data/file; dd if=/dev/zero of=/data/big bs=1M count=20 && echo fits", 32 * MIB)
    assert ("kept" in said, "fits" in said) == (True, True)
    assert os.statvfs(point(host)).f_blocks > 3 * before
    assert "kept" in run(host, "echo begin; cat /data/file", 8 * MIB)
    assert Path(f"{point(host)}.img").stat().st_size == 32 * MIB


def test_a_growth_that_was_cut_short_is_finished_at_the_next_start(host: World) -> None:
    run(host, "echo kept > /data/file", 8 * MIB)
    host.runtime.remove("shop", "web")
    host.runtime.prune(set())
    before = Path(f"{point(host)}.img")
    os.truncate(before, 32 * MIB)  # the file is larger, what is in it is not
    run(host, "true", 32 * MIB)
    assert os.statvfs(point(host)).f_blocks * os.statvfs(point(host)).f_frsize > 24 * MIB
    assert before.stat().st_blocks * 512 >= 32 * MIB
    assert "kept" in run(host, "echo begin; cat /data/file", 32 * MIB)


def test_an_app_that_leaves_has_its_volumes_unmounted_and_its_data_kept(host: World) -> None:
    run(host, "echo kept > /data/file")
    host.runtime.prune({"shop"})
    assert volumes.source_of(str(point(host))) is not None
    host.runtime.remove("shop", "web")
    host.runtime.prune(set())
    assert volumes.source_of(str(point(host))) is None
    assert "kept" in run(host, "echo begin; cat /data/file")


def test_a_volume_that_would_take_the_hosts_last_room_is_refused_and_leaves_nothing(host: World) -> None:
    disk = os.statvfs(host.base)
    with pytest.raises(RuntimeFailedError, match=r"its volume data needs \d+ MiB, and the disk has \d+ MiB") as caught:
        host.runtime.start(spec(host, "true", disk.f_bavail * disk.f_frsize - 32 * MIB))
    assert (caught.value.retry, caught.value.element) == (True, "shop/web")
    assert list(point(host).parent.iterdir()) == []
    assert host.runtime.seen() == []


def test_a_volume_that_cannot_be_read_is_said_to_be_damaged(host: World) -> None:
    run(host, "true")
    host.runtime.remove("shop", "web")
    host.runtime.prune(set())
    image = Path(f"{point(host)}.img")
    with image.open("r+b") as file:
        file.write(b"\0" * 65536)
    with pytest.raises(RuntimeFailedError, match="its volume data is damaged"):
        host.runtime.start(spec(host, "true"))
