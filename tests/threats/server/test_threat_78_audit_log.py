"""Row 78: somebody with the database in hand edits the audit log. Any row flipped, removed or cut off is seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from server_support import NOW

from fleet_protocol.trust.keys import FileSigner, generate_ed25519
from fleet_server import audit_heads
from fleet_server.errors import StoreError
from fleet_server.store.records import AuditEntry
from fleet_server.store.sqlite import open_store

ROWS = 6


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    generate_ed25519(tmp_path / "director.key")
    return FileSigner(tmp_path / "director.key")


def a_log(folder: Path, signer: FileSigner) -> Path:
    path = folder / "server.db"
    store = open_store(path)
    for n in range(ROWS):
        store.record(AuditEntry(NOW + n, "ops", "apply", "lab", {"n": n}))
        if n in (2, ROWS - 1):
            assert audit_heads.write_head(folder / "audit.heads", store, signer, NOW)
            assert not audit_heads.write_head(folder / "audit.heads", store, signer, NOW)
    store.close()
    return path


def fault(folder: Path, signer: FileSigner) -> str | None:
    store = open_store(folder / "server.db")
    try:
        return audit_heads.check(folder / "audit.heads", store, signer.public)
    finally:
        store.close()


def edited(column: str, seq: int) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute(f"UPDATE audit SET {column} = '1' WHERE seq = ?", (seq,))  # noqa: S608 (our columns)


COLUMNS = ("at", "who", "action", "element", "previous", "hash", "origin", "why")
SWAP = "UPDATE audit SET seq=99 WHERE seq=2; UPDATE audit SET seq=2 WHERE seq=3; UPDATE audit SET seq=3 WHERE seq=99;"
EDITS: list[tuple[str, Callable[[sqlite3.Connection], object]]] = [
    *((f"{column} of row {seq}", edited(column, seq)) for column in COLUMNS
      for seq in (1, 3, ROWS)),
    *((f"detail of row {seq}", lambda db, seq=seq: db.execute("UPDATE audit SET detail='{}' WHERE seq=?", (seq,)))
      for seq in (1, 3, ROWS)),
    *((f"row {seq} removed", lambda db, seq=seq: db.execute("DELETE FROM audit WHERE seq=?", (seq,)))
      for seq in range(1, ROWS + 1)),
    *((f"everything after row {seq} cut off", lambda db, seq=seq: db.execute("DELETE FROM audit WHERE seq>?", (seq,)))
      for seq in range(ROWS)),
    ("two rows swapped", lambda db: db.executescript(SWAP)),
]  # fmt: skip


@pytest.mark.parametrize("edit", [e[1] for e in EDITS], ids=[e[0] for e in EDITS])
def test_threat_78_every_edit_is_seen(
    tmp_path: Path, signer: FileSigner, edit: Callable[[sqlite3.Connection], object]
) -> None:
    path = a_log(tmp_path, signer)
    assert fault(tmp_path, signer) is None
    database = sqlite3.connect(path)
    edit(database)
    database.commit()
    database.close()
    assert fault(tmp_path, signer) is not None


def test_threat_78_a_chain_made_anew_lacks_the_signed_heads(tmp_path: Path, signer: FileSigner) -> None:
    path = a_log(tmp_path, signer)
    path.unlink()
    store = open_store(path)
    for n in range(ROWS):
        store.record(AuditEntry(NOW + n, "nobody", "apply", "lab", {"n": n}))
    store.close()
    assert fault(tmp_path, signer) == "row 3 is not the one whose head was kept"


def test_threat_78_a_forged_head_is_refused_and_a_torn_last_line_is_not_an_alarm(
    tmp_path: Path, signer: FileSigner
) -> None:
    a_log(tmp_path, signer)
    heads = tmp_path / "audit.heads"
    good = heads.read_bytes()
    heads.write_bytes(good + b'{"payload": "half a li')
    assert fault(tmp_path, signer) is None
    heads.write_bytes(good.replace(b'"sig":"', b'"sig":"AAAA'))
    with pytest.raises(StoreError, match="is not a signed head"):
        fault(tmp_path, signer)
