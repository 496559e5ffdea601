"""What must be remembered survives, and what does not read as written is never taken for a first run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_protocol.trust.errors import AlarmError
from fleet_protocol.trust.store import AcceptedState, TrustStore

HASH, OTHER = "a" * 64, "b" * 64


def made(path: Path) -> None:
    store = TrustStore(path)
    store.put_role("timestamp", 7, b"metadata")
    store.put_root(1, b"root")
    store.accept(5, HASH, {"cam": ("1.9.0", HASH)})
    store.sealed(5, HASH, set())
    store.raise_floor("cam", "keys", 3)
    store.close()


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    made(tmp_path / "trust.db")
    store = TrustStore(tmp_path / "trust.db", expect_existing=True)
    assert store.role("timestamp") == b"metadata"
    assert store.role_version("timestamp") == 7
    assert store.roots() == [(1, b"root")]
    assert store.accepted() == AcceptedState(5, HASH, sealed=True)
    assert store.accepted_apps() == {"cam": ("1.9.0", HASH)}
    assert (store.floor("cam", "keys"), store.floor("cam", "others"), store.floor("db", "keys")) == (3, 0, 0)
    store.close()


def test_it_is_written_through_on_every_commit(tmp_path: Path) -> None:
    path = tmp_path / "trust.db"
    store = TrustStore(path)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.accept(5, HASH, {})
    assert (tmp_path / "trust.db-wal").stat().st_size == 0  # nothing that the log alone holds
    store.close()


def garbled(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"generation", b"generatiom"))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(HASH.encode())] ^= 1
    path.write_bytes(bytes(data))


def without_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()


def edited(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '2' WHERE key = 'generation'")
    db.close()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda p: p.write_bytes(b""),
    "all zeros": lambda p: p.write_bytes(b"\0" * p.stat().st_size),
    "cut in half": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "another file": lambda p: p.write_bytes(b"x" * 4096),
    "a key garbled": garbled,
    "a bit flipped": flipped,
    "another database": without_tables,
    "a floor lowered": edited,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_state_is_an_alarm(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "trust.db"
    made(path)
    damage(path)
    with pytest.raises(AlarmError, match="refusing to begin anew"):
        TrustStore(path, expect_existing=True)


@pytest.mark.parametrize("damage", [d for n, d in DAMAGE.items() if n not in ("missing", "empty")])
def test_damage_is_an_alarm_also_where_no_state_was_expected(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "trust.db"
    made(path)
    damage(path)
    with pytest.raises(AlarmError):
        TrustStore(path)


def test_every_page_set_to_zero_is_noticed_or_harmless(tmp_path: Path) -> None:
    """No page can be lost without either an alarm or all floors being as they were."""
    path = tmp_path / "trust.db"
    made(path)
    whole = path.read_bytes()
    alarms = 0
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\0" * 4096 + whole[start + 4096 :])
        try:
            store = TrustStore(path, expect_existing=True)
            state = (store.accepted(), store.floor("cam", "keys"), store.role("timestamp"), store.roots())
            store.close()
        except AlarmError:
            alarms += 1
            continue
        assert state == (AcceptedState(5, HASH, sealed=True), 3, b"metadata", [(1, b"root")])
    assert alarms >= 5


def test_metadata_that_lost_its_hash_is_an_alarm_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trust.db"
    made(path)
    path.write_bytes(path.read_bytes().replace(b"metadata", b"metadatA"))
    store = TrustStore(path)
    with pytest.raises(AlarmError, match="stored timestamp does not have its hash"):
        store.role("timestamp")
    store.close()


def test_an_interrupted_creation_begins_again(tmp_path: Path) -> None:
    (tmp_path / "trust.db").write_bytes(b"")
    TrustStore(tmp_path / "trust.db").close()
    TrustStore(tmp_path / "trust.db", expect_existing=True).close()


def test_acceptance_never_goes_back(tmp_path: Path) -> None:
    store = TrustStore(None)
    store.accept(5, HASH, {})
    store.accept(5, HASH, {})
    with pytest.raises(AlarmError, match="generation 4 is not above the accepted 5"):
        store.accept(4, HASH, {})
    with pytest.raises(AlarmError, match="generation 5 is not above the accepted 5"):
        store.accept(5, OTHER, {})
    with pytest.raises(AlarmError, match="without having been accepted"):
        store.sealed(5, OTHER, set())
    assert store.accepted() == AcceptedState(5, HASH, sealed=False)
    store.accept(6, OTHER, {})
    assert store.accepted() == AcceptedState(6, OTHER, sealed=False)
    store.close()


def test_accepting_again_what_is_sealed_leaves_it_sealed() -> None:
    store = TrustStore(None)
    store.accept(5, HASH, {})
    store.sealed(5, HASH, set())
    store.accept(5, HASH, {})
    assert store.accepted() == AcceptedState(5, HASH, sealed=True)
    store.close()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "trust.db"
    made(path)
    store = TrustStore(path)
    store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(AlarmError, match="cannot be written") as caught:
        store.put_role("snapshot", 1, b"x" * 200_000)
    assert caught.value.retry
    assert store.role("snapshot") is None
    store.accept(6, OTHER, {})
    store.close()


def test_sealing_forgets_targets_that_nothing_uses() -> None:
    import hashlib

    store = TrustStore(None)
    keep, drop = b"keep", b"drop"
    store.put_target(keep)
    store.put_target(drop)
    store.accept(1, HASH, {})
    store.sealed(1, HASH, {hashlib.sha256(keep).hexdigest()})
    assert store.target(hashlib.sha256(keep).hexdigest()) == keep
    assert store.target(hashlib.sha256(drop).hexdigest()) is None
    store.close()
