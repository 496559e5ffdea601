from __future__ import annotations

import pytest

from edge_daemon.keeper.loop import View
from edge_daemon.keeper.plans import Plan
from edge_daemon.keeper.records import AppRow
from edge_daemon.keeper.report import app_state, service_state
from edge_daemon.keeper.supervise import CRASH_LOOP_AT, Past, Unit

NOW = 1000.0
PLAN = Plan("shop", "1.0.0", "a" * 64, "b" * 64, None, (Unit("web"),), "")


@pytest.mark.parametrize(
    ("past", "state", "app"),
    [
        pytest.param(Past(), "waiting", "updating", id="not started yet"),
        pytest.param(Past(1, 1, NOW + 1), "backoff", "degraded", id="ended once"),
        pytest.param(Past(4, CRASH_LOOP_AT - 1, NOW + 9), "backoff", "degraded", id="ended often"),
        pytest.param(Past(5, CRASH_LOOP_AT, NOW + 16), "crash-loop", "degraded", id="ended five times in a row"),
        pytest.param(Past(5, CRASH_LOOP_AT, NOW - 1), "waiting", "updating", id="about to be started again"),
        pytest.param(Past(5, 6, 0.0, 3), "failed", "failed", id="not started again"),
        pytest.param(Past(0, 0, 0.0, 0), "completed", "ok", id="meant to end"),
    ],
)
def test_a_service_that_does_not_run_says_why(past: Past, state: str, app: str) -> None:
    view = View(PLAN, {}, {"web": past}, {})
    assert service_state(Unit("web"), view, NOW) == state
    assert app_state(view, AppRow("shop"), {"web": state})[0] == app


def test_a_crash_loop_is_told_in_words() -> None:
    view = View(PLAN, {}, {"web": Past(7, 7, NOW + 60)}, {})
    assert app_state(view, AppRow("shop"), {"web": "crash-loop"}) == (
        "degraded", "web is in a crash loop: it failed 7 times in a row",
    )  # fmt: skip
