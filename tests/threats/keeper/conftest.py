from __future__ import annotations

from collections.abc import Iterator

import pytest
from keeper_support import Host, host


@pytest.fixture
def edge() -> Iterator[Host]:
    with host() as made:
        yield made
