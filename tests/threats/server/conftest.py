from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_process_support import ServerUnderTest, running_server

from fleet_release.trust.ceremony import TrustDirectory


@pytest.fixture
def server() -> Iterator[ServerUnderTest]:
    """A server with a trust root, and its broker."""
    with running_server() as made:
        made.make_trust("cam")
        yield made


@pytest.fixture
def trust(server: ServerUnderTest) -> TrustDirectory:
    """The engineer's half, with two releases."""
    made = TrustDirectory(server.folder / "trust")
    server.release(made, "cam", "1.9.0")
    return made
