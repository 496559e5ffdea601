"""Row 60: one token, many keys at once. The store's one statement decides: exactly as many get in as it has uses."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_support import NOW, a_request, a_token

from fleet_server.store.sqlite import open_store

PARALLEL, ROUNDS = 100, 10


@pytest.mark.parametrize("uses", [1, 7])
def test_threat_60_a_token_is_never_spent_twice(tmp_path: Path, uses: int) -> None:
    store = open_store(tmp_path / "server.db")
    # A second connection to the same file, as a second process would have.
    other = open_store(tmp_path / "server.db")
    try:
        with ThreadPoolExecutor(PARALLEL) as pool:
            for number in range(ROUNDS):
                token = f"token{number:04d}"
                store.add_token(a_token(token, uses=uses, uses_left=uses))
                barrier = threading.Barrier(PARALLEL)

                def attempt(n: int, token: str = token, barrier: threading.Barrier = barrier) -> bool:
                    request = a_request(f"{token}x{n:04d}", token_id=token, fingerprint=f"{n:064x}")
                    barrier.wait()
                    return (store if n % 2 else other).admit(request, NOW) is not None

                assert sum(pool.map(attempt, range(PARALLEL))) == uses
                left = store.token(token)
                assert left is not None
                assert left.uses_left == 0
        assert len(store.enrolments()) == uses * ROUNDS
    finally:
        store.close()
        other.close()
