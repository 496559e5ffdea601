from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_support import Operator
from server_process_support import ServerUnderTest, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    with running_server() as made:
        yield made


@pytest.fixture(scope="module")
def operator(server: ServerUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """An operator who is also the engineer: context, trust root, and release 1.0.0 of `shop`."""
    made = Operator(tmp_path_factory.mktemp("operator"), server)
    made.join()
    made.write_app("1.0.0")
    made.fleet("release")
    return made
