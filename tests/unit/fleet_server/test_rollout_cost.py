"""What a decision may cost. Measures, so it runs alone."""

from __future__ import annotations

import pytest

from fleet_server.bench_rollout import many_changes, middle, one_change


@pytest.mark.alone
@pytest.mark.parametrize(
    ("devices", "within_s"),
    [
        pytest.param(10_000, 0.050, id="10,000 devices within 50 ms"),
        pytest.param(100_000, 1.0, id="100,000 devices within a second", marks=pytest.mark.timeout(300)),
    ],
)
def test_a_change_is_decided_in_time(devices: int, within_s: float) -> None:
    engine = middle(devices)
    assert len(engine.members.records) == devices
    assert one_change(engine, rounds=20) < within_s
    assert many_changes(engine, rounds=5) < within_s
