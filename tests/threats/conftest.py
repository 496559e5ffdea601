from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from trust_support import Device, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def device(world: World) -> Iterator[Device]:
    made = world.device()
    yield made
    made.close()
