"""Verification runs in a process that can no longer read the interpreter's files."""

from __future__ import annotations

import subprocess
import sys

from trust_support import World

CHILD = """
import sys
from pathlib import Path
from fleet_protocol.trust.clock import TrustedClock
from fleet_protocol.trust.errors import NotThereError
from fleet_protocol.trust.policy import LocalPolicy
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.trust.tuf_client import TufClient
from fleet_protocol.trust.verifier import Accepted, Verifier
folder = Path(sys.argv[1])

def fetch(kind, name, most):
    if kind == "metadata":
        path = folder / "tuf" / "metadata" / (name.replace("/", "%2F") + ".json")
    else:
        path = folder / "tuf" / "targets" / name.rpartition("/")[2][:64]
    if not path.exists():
        raise NotThereError("404", element=name)
    return path.read_bytes()

root = fetch("metadata", "1.root", 0)
envelope = (folder / "envelope").read_bytes()
before = set(sys.modules)
store = TrustStore(folder / "child" / "trust.db")
clock = TrustedClock(store, system=lambda: float(sys.argv[2]))
client = TufClient(store, root, fetch, clock)
verifier = Verifier(store, client, clock, "pump-3", LocalPolicy())
accepted = verifier.verify(envelope)
assert isinstance(accepted, Accepted)
verifier.accept(accepted)
verifier.sealed(accepted)
try:
    verifier.verify(envelope[:-9])
except Exception as error:
    str(error)
print(*sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_while_verifying(world: World) -> None:
    (world.folder / "envelope").write_bytes(world.desired(("cam", "1.9.0", world.release())))
    command = [sys.executable, "-I", "-c", CHILD, str(world.folder), str(world.time.system())]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == []
