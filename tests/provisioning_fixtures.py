"""Fixtures of everything that has to do with identities: a desk, its HTTPS front, a broker."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from provisioning_support import Broker, Desk, HttpsFront, https_front, open_desk

from provisioning.authority.ca import DeviceCa


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "server") as made:
        yield made


@pytest.fixture
def front(desk: Desk, tmp_path: Path) -> Iterator[HttpsFront]:
    with https_front(desk, tmp_path) as made:
        yield made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:  # the broker becomes a user of its own and must get to its folder
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o711)
    made = Broker(tmp_path / "broker", DeviceCa.create("lab", int(time.time())))
    made.directory.prepare(int(time.time()))
    try:
        yield made
    finally:
        made.stop()
