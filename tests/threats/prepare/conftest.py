from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from prepare_support import Site, site
from unpack_support import Store


@pytest.fixture
def host() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.fixture
def store() -> Iterator[Store]:
    base = Path(tempfile.mkdtemp(prefix="rs-unpack-"))
    base.chmod(0o711)
    try:
        yield Store(base)
    finally:
        shutil.rmtree(base)
