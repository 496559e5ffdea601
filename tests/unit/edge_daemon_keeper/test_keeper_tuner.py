from __future__ import annotations

from pathlib import Path

import pytest

from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.records import Records
from edge_daemon.keeper.tuner import Tuner
from edge_daemon.layout import Layout


@pytest.mark.parametrize(
    ("children", "replaced"),
    [
        pytest.param([("b", False), ("b", False)], 0, id="a child that was killed is started again"),
        pytest.param([("b", False)] * 3, 1, id="not for ever"),
        pytest.param([("b", False), ("b", False), ("c", False)], 0, id="another revision counts anew"),
        pytest.param([("b", True)], 1, id="what the kernel refused is not tried again"),
    ],
)
def test_when_a_change_of_limits_gives_way_to_a_replacement(
    tmp_path: Path, children: list[tuple[str, bool]], replaced: int
) -> None:
    db = KeeperDb(tmp_path / "keeper.db")
    outbox = Outbox(db)
    tuner = Tuner(Layout(tmp_path, tmp_path), Journal(db, outbox, Records(db), "boot", lambda: 1))
    for revision, outcome in children:
        tuner.failed("shop", "web", revision, "it ended", outcome=outcome)
    assert [event.kind for event in outbox.recent(9)] == ["limits.not-live"] * replaced
