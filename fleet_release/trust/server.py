"""What the engineer's side needs of a server, and how a TUF client reads through it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fleet_protocol.trust.clock import TrustedClock
from fleet_protocol.trust.errors import NotThereError
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.trust.tuf_client import Fetch, TufClient
from fleet_protocol.wire.errors import TrustError


class MetadataServer(Protocol):
    """The trust routes of the server; `fleet_client.api.FleetClient` is one."""

    def get_metadata(self, name: str) -> bytes | None:
        """`timestamp`, `3.snapshot`, `2.release/cam`, `1.root`; None: not there."""

    def get_target(self, path: str) -> bytes | None:
        """`releases/cam/<sha256>.1.9.0.json`; None: not there."""

    def put_target(self, sha256: str, data: bytes) -> None:
        """Upload target bytes."""

    def put_metadata(self, role: str, data: bytes, if_match: int) -> dict[str, Any]:
        """Compare-and-swap upload; answers with RoleVersion."""


def fetcher(server: MetadataServer) -> Fetch:
    """`server` as the TUF client's source."""

    def fetch(kind: str, name: str, max_bytes: int) -> bytes:
        data = (
            server.get_metadata(name) if kind == "metadata" else server.get_target(name) if kind == "target" else None
        )
        if data is None:
            raise NotThereError("the server does not have it", element=f"{kind} {name}")
        if len(data) > max_bytes:
            raise TrustError(f"the server sent {len(data)} bytes, at most {max_bytes} are allowed", element=name)
        return data

    return fetch


def pinned_root(server: MetadataServer, root_sha256: str) -> bytes:
    """Root version 1 as the server has it, if it is the one that `root_sha256` pins."""
    root = server.get_metadata("1.root")
    if root is None:
        raise NotThereError("the server has no trust root yet", element="root", hint="fleet trust init")
    if hashlib.sha256(root).hexdigest() != root_sha256:
        raise TrustError("the server serves another trust root than the pinned one", element="root")
    return root


@contextmanager
def verified_client(
    server: MetadataServer, root: bytes, *, now: Callable[[], float] = time.time
) -> Iterator[TufClient]:
    """A refreshed client that begins from the pinned root and trusts `server` for nothing. Raises TrustError."""
    store = TrustStore(None)
    client = TufClient(store, root, fetcher(server), TrustedClock(store, system=now))
    try:
        client.refresh()
        yield client
    finally:
        store.close()
