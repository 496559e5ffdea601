"""One real server for all of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process_support import ServerUnderTest, running_server

from tui.main import LocalMachine


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    with running_server() as running:
        running.make_trust("cam")
        yield running


@pytest.fixture
def machine(server: ServerUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalMachine:
    """The operator's own: a configuration with one context, and a cache."""
    from fleet_client import contexts

    monkeypatch.setenv("ROADSTEAD_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"https://localhost:{server.port}"
    contexts.add(contexts.Context("lab", url, server.dir / "ca/ca.pem", server.dir / "admin.token"), use=True)
    return LocalMachine()
