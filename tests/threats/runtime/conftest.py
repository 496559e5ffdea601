from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from runtime_support import World, world


@pytest.fixture
def host() -> Iterator[World]:
    with world() as made:
        yield made
