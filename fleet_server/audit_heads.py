"""Signed heads of the audit log, in a file beside the store: a log whose end was cut off lacks one of them.

Each line is a DSSE envelope. Copy the file elsewhere now and then: who can write here can also sign here.
"""

from __future__ import annotations

import os
from pathlib import Path

from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import PublicKey, Signer
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError
from fleet_server.errors import StoreError
from fleet_server.store import audit
from fleet_server.store.api import Store

HEAD_TYPE = "application/vnd.roadstead.audit-head.v1+json"
MAX_LINE = 4096


def write_head(path: Path, store: Store, signer: Signer, now: int) -> bool:
    """Append the present head, durably; False if the last line says the same already."""
    seq, digest = store.audit_head()
    if seq == 0 or read_heads(path, signer.public).get(seq) == digest:
        return False
    line = dsse.sign(strict_json.dumps({"seq": seq, "hash": digest, "at": now}), HEAD_TYPE, signer)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    return True


def read_heads(path: Path, key: PublicKey) -> dict[int, str]:
    """Row number -> hash. Raises StoreError for a line that is not signed by `key`."""
    out: dict[int, str] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return out
    for number, line in enumerate(lines, 1):
        try:
            payload = dsse.verify(line, HEAD_TYPE, (key,), max_bytes=MAX_LINE)
            value = strict_json.loads(payload, max_bytes=MAX_LINE, what="audit head")
            out[int(value["seq"])] = str(value["hash"])
        except (RoadsteadError, KeyError, TypeError, ValueError) as error:
            if number == len(lines) and not path.read_bytes().endswith(b"\n"):
                break  # the power went while the last line was written
            raise StoreError(f"line {number} is not a signed head: {error}", element=path.name) from error
    return out


def check(path: Path, store: Store, key: PublicKey) -> str | None:
    """What is wrong with the audit log, in words, or None."""
    return audit.first_fault(store.audit_rows(), read_heads(path, key))
