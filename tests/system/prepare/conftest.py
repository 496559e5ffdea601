from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from prepare_support import Site, site


@pytest.fixture
def host() -> Iterator[Site]:
    with site() as made:
        yield made
