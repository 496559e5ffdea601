from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_process_support import ServerUnderTest, running_server

from fleet_release.trust.ceremony import TrustDirectory


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    """A server with a trust root, and its broker, for the tests of one module."""
    with running_server() as made:
        made.make_trust("cam", "gw")
        yield made


@pytest.fixture(scope="module")
def trust(server: ServerUnderTest) -> TrustDirectory:
    """The engineer's half, with one release of each app."""
    made = TrustDirectory(server.folder / "trust")
    server.release(made, "cam", "1.9.0")
    server.release(made, "gw", "1.0.0")
    return made
