"""Row 4: whatever a power cut leaves, an old repository and an old desired state do not become new again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trust_support import NOW, Device, World
from tuf_tampering_support import current

from fleet_protocol.trust.errors import AlarmError
from fleet_protocol.trust.store import AcceptedState, TrustStore
from fleet_protocol.wire.errors import TrustError

HASH = "a" * 64


@pytest.mark.parametrize("loss", ["missing", "0 bytes", "zeros", "half"])
def test_threat_04_lost_state_beside_other_state_is_an_alarm_and_never_a_first_run(
    world: World, device: Device, loss: str
) -> None:
    old = world.desired(("cam", "1.9.0", world.release()), generation=1)
    device.take(old)
    device.take(world.desired(generation=2))
    device.close()
    data = device.path.read_bytes()
    device.path.unlink()
    if loss != "missing":
        device.path.write_bytes({"0 bytes": b"", "zeros": bytes(len(data)), "half": data[: len(data) // 2]}[loss])
    with pytest.raises(AlarmError, match="refusing to begin anew"):
        device.boot(expect_existing=True)


def test_threat_04_a_lost_log_loses_nothing_that_was_acknowledged(world: World, device: Device) -> None:
    """Every commit is moved into the main file: the write-ahead log may vanish after each of them."""
    target = world.release()
    old_timestamp = current(world, "timestamp")
    for generation in range(1, 6):
        world.repository.refresh_timestamp(NOW, force=True)
        device.take(world.desired(("cam", "1.9.0", target), generation=generation))
        image = device.path.with_name(f"image-{generation}.db")
        shutil.copyfile(device.path, image)  # without -wal and -shm
        reopened = TrustStore(image, expect_existing=True)
        accepted = reopened.accepted()
        assert accepted is not None
        assert (accepted.generation, accepted.sealed) == (generation, True)
        reopened.close()
        device.answers["metadata", "timestamp"] = old_timestamp
        device.boot(expect_existing=True)
        with pytest.raises(TrustError, match="must be >="):
            device.client.refresh()
        device.answers.clear()


def test_threat_04_a_commit_torn_anywhere_is_the_state_before_or_after(tmp_path: Path) -> None:
    """Images of a commit whose log was cut at every 512 bytes, with and without garbage behind the cut."""
    path = tmp_path / "trust.db"
    store = TrustStore(path)
    store.accept(5, HASH, {"cam": ("1.9.0", HASH)})
    store._db.execute("PRAGMA busy_timeout = 0")
    reader = TrustStore(path)
    reader._db.execute("BEGIN")
    reader._db.execute("SELECT * FROM meta").fetchall()  # holds the log: the checkpoint has to wait
    store.accept(6, "b" * 64, {"cam": ("2.0.0", HASH)})
    log = path.with_name("trust.db-wal").read_bytes()
    main = path.read_bytes()
    reader.close()
    store.close()
    before, after = AcceptedState(5, HASH, sealed=False), AcceptedState(6, "b" * 64, sealed=False)
    chance = random.Random(7)  # noqa: S311
    outcomes = set()
    for number, cut in enumerate([*range(0, len(log), 512), len(log)]):
        for garbage in (b"", chance.randbytes(512)):
            image = tmp_path / f"image-{number}-{len(garbage)}" / "trust.db"
            image.parent.mkdir()
            image.write_bytes(main)
            image.with_name("trust.db-wal").write_bytes(log[:cut] + garbage)
            opened = TrustStore(image, expect_existing=True)
            state = opened.accepted()
            opened.close()
            assert state in (before, after)
            outcomes.add(state)
    assert outcomes == {before, after}


WRITER = """
import sys
from pathlib import Path
from fleet_protocol.trust.store import TrustStore
store = TrustStore(Path(sys.argv[1]))
now = store.accepted()
generation = now.generation if now else 0
print("ready", flush=True)
while True:
    generation += 1
    store.accept(generation, f"{generation:064x}", {"cam": (str(generation), "a" * 64)})
    print(generation, flush=True)
    store.sealed(generation, f"{generation:064x}", set())
"""


def test_threat_04_kill_9_at_any_moment_keeps_every_acknowledged_generation(tmp_path: Path) -> None:
    path = tmp_path / "trust.db"
    chance = random.Random(11)  # noqa: S311
    for _ in range(8):
        command = [sys.executable, "-I", "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            last = [writer.stdout.readline() for _ in range(chance.randrange(1, 40))][-1]
            os.kill(writer.pid, signal.SIGKILL)
            rest = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = int((rest or [last])[-1])
        store = TrustStore(path, expect_existing=True)
        accepted = store.accepted()
        store.close()
        assert accepted is not None
        assert acknowledged <= accepted.generation <= acknowledged + 1
