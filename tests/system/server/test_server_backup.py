"""Backup of a running server, damage that is found, and a restored server that starts and answers."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_process_support import ServerUnderTest, running_server

from fleet_server.backup import BackupError, verify


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fleet_server.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    with running_server() as made:
        trust = made.make_trust("cam")
        made.release(trust, "cam", "1.9.0")
        made.enrol("bk-1")
        blob = b"layer" * 1000
        made.http("POST", f"/v2/apps/cam/blobs/uploads/?digest=sha256:{_sha256(blob)}", blob)
        yield made


@pytest.fixture(scope="module")
def archive(server: ServerUnderTest) -> Path:
    """Written while the server serves and its store changes."""
    stop, path = threading.Event(), server.folder / "one.backup"

    def change() -> None:
        while not stop.is_set():
            server.api("POST", "/v1/tokens", {"labels": {"site": "lab"}})

    busy = threading.Thread(target=change)
    busy.start()
    try:
        done = call("backup", "--dir", str(server.dir), "--to", str(path))
    finally:
        stop.set()
        busy.join()
    assert done.returncode == 0, done.stderr
    assert "read back and whole" in done.stdout
    return path


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_backup_is_its_owners_alone_and_leaves_nothing_beside_it(server: ServerUnderTest, archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in server.dir.iterdir() if p.name.startswith(".")] == []
    assert [p.name for p in archive.parent.iterdir() if p.name.startswith(".")] == []
    assert verify(archive) > 10
    again = call("backup", "--dir", str(server.dir), "--to", str(archive))
    assert (again.returncode, "a backup is never overwritten" in again.stderr) == (1, True)


def test_a_restored_server_starts_and_answers_with_all_that_was_there(server: ServerUnderTest, archive: Path) -> None:
    devices = server.api("GET", "/v1/devices")["items"]
    keys = server.api("GET", "/v1/online-keys")
    rows = server.api("GET", "/v1/status")["audit_rows"]
    server.stop()
    away = server.dir.with_name("away")
    server.dir.rename(away)
    try:
        done = call("restore", "--from", str(archive), "--dir", str(server.dir))
        assert done.returncode == 0, done.stderr
        for path in sorted(p for p in server.dir.rglob("*") if "broker" not in p.relative_to(server.dir).parts):
            was = away / path.relative_to(server.dir)
            if was.exists():
                assert path.stat().st_mode & 0o777 == was.stat().st_mode & 0o777, path
        for name in ("ca/ca.key", "tls/server.key", "keys/director.key", "server.db", "admin.token"):
            assert (server.dir / name).stat().st_mode & 0o077 == 0
        server.start()
        assert [d["device_id"] for d in server.api("GET", "/v1/devices")["items"]] == [d["device_id"] for d in devices]
        assert server.api("GET", "/v1/online-keys") == keys
        assert 0 < server.api("GET", "/v1/status")["audit_rows"] <= rows
        assert server.http("GET", "/tuf/metadata/timestamp.json")[0] == 200
        assert server.http("GET", "/v2/apps/cam/blobs/sha256:" + _sha256(b"layer" * 1000))[2] == b"layer" * 1000
        said = call("doctor", "--dir", str(server.dir)).stdout
        assert ("BAD" in said, "store: sound" in said, "unbroken" in said) == (False, True, True), said
    finally:
        server.stop()
        shutil.rmtree(server.dir, ignore_errors=True)
        away.rename(server.dir)
        server.start()


def test_nothing_is_restored_over_a_server(server: ServerUnderTest, archive: Path) -> None:
    before = {p: p.read_bytes() for p in (server.dir / "keys").iterdir()}
    done = call("restore", "--from", str(archive), "--dir", str(server.dir))
    assert (done.returncode, "an existing server is never overwritten" in done.stderr) == (1, True)
    assert {p: p.read_bytes() for p in (server.dir / "keys").iterdir()} == before


def flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def with_member(name: str, *, link: bool = False) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as new, tarfile.open(fileobj=io.BytesIO(data)) as old:
            extra = tarfile.TarInfo(name)
            if link:
                extra.type, extra.linkname = tarfile.SYMTYPE, "/etc/passwd"
            new.addfile(extra)
            for info in old:
                new.addfile(info, old.extractfile(info))
        return out.getvalue()

    return change


@pytest.mark.parametrize(
    "damage",
    [
        flipped, lambda d: d[: len(d) // 2], lambda d: d[:1024], lambda _: b"", lambda _: b"x" * 4096,
        with_member("../outside"), with_member("/etc/cron.d/x"), with_member("keys/../../outside"),
        with_member("keys/more.key"), with_member("elsewhere"), with_member("ca/ca.pem", link=True),
    ],
    ids=[
        "flipped", "half", "first block", "empty", "no archive", "above", "absolute", "through", "added", "unknown",
        "link",
    ],
)  # fmt: skip
def test_a_damaged_or_forged_archive_restores_nothing(
    archive: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    bad, target = tmp_path / "bad", tmp_path / "server"
    bad.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(BackupError):
        verify(bad)
    done = call("restore", "--from", str(bad), "--dir", str(target))
    assert done.returncode == 1
    assert "While backing up, fleet-server failed" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad"]


def test_a_damaged_store_is_not_backed_up(server: ServerUnderTest, tmp_path: Path) -> None:
    copy = tmp_path / "server"
    server.stop()
    shutil.copytree(server.dir, copy)
    server.start()
    with (copy / "server.db").open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(8192))
    done = call("backup", "--dir", str(copy), "--to", str(tmp_path / "x.backup"))
    assert done.returncode == 1, done.stdout
    assert "store" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["server"]
    assert "BAD  store" in call("doctor", "--dir", str(copy)).stdout
