from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from provisioning_support import Desk, HttpsFront, https_front, open_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "server") as made:
        yield made


@pytest.fixture
def front(desk: Desk, tmp_path: Path) -> Iterator[HttpsFront]:
    with https_front(desk, tmp_path) as made:
        yield made
