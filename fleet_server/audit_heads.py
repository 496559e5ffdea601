"""Signed heads of the audit log, in a file beside the store: a log whose end was cut off lacks one of them.

Each line is a DSSE envelope. Copy the file elsewhere now and then: who can write here can also sign here.
"""

from __future__ import annotations

import os
from pathlib import Path

from fleet_protocol.trust.audit_heads import heads_in, signed_head
from fleet_protocol.trust.keys import PublicKey, Signer
from fleet_protocol.wire.errors import TrustError
from fleet_server.errors import StoreError
from fleet_server.store import audit
from fleet_server.store.api import Store


def write_head(path: Path, store: Store, signer: Signer, now: int) -> bool:
    """Append the present head, durably; False if the last line says the same already."""
    seq, digest = store.audit_head()
    if seq == 0 or read_heads(path, signer.public).get(seq) == digest:
        return False
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, signed_head(seq, digest, now, signer))
        os.fsync(handle)
    finally:
        os.close(handle)
    return True


def head_lines(path: Path) -> bytes:
    """The file as it is; empty if there is none yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def read_heads(path: Path, key: PublicKey) -> dict[int, str]:
    """Row number -> hash. Raises StoreError for a line that is not signed by `key`."""
    try:
        return heads_in(head_lines(path), key)
    except TrustError as error:
        raise StoreError(error.reason, element=path.name) from error


def check(path: Path, store: Store, key: PublicKey) -> str | None:
    """What is wrong with the audit log, in words, or None."""
    return audit.first_fault(store.audit_rows(), read_heads(path, key))
