"""Rollouts with everything real: server, broker, two hosts, containers, the operator's command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet_world_support import FleetWorld, fleet_world

from fleet_protocol.wire.errors import Exit

ALL_OLD = {"edge-1": "1.0.0", "edge-2": "1.0.0"}
CRASHES = "sleep 1; exit 7"
EATS = "sleep 1; x=a; while true; do x=$$x$$x$$x$$x; done"


@pytest.fixture(scope="module")
def world() -> Iterator[FleetWorld]:
    with fleet_world(2) as made:
        yield made


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("version", "command", "kind", "how"),
    [
        ("2.0.0", CRASHES, "restarts", {}),
        ("2.0.1", EATS, "oom", {}),
        (
            "2.0.2",
            "sleep 1000",
            "probe",
            {"more": "    healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 1s, timeout: 1s, retries: 1}\n"},
        ),
    ],
    ids=["crash", "oom", "probe"],
)
def test_a_bad_release_stops_at_the_canary_and_is_taken_back(
    world: FleetWorld, version: str, command: str, kind: str, how: dict[str, str]
) -> None:
    before = world.runs()
    assert set(before.values()) == {"1.0.0"}
    rollout = world.begin_rollout(version, command, **how)
    said = world.operator.fleet(
        "rollout", "watch", rollout, "--until", "done", "--timeout", "120", status=Exit.ROLLOUT_FAILED
    ).out
    assert "failed: 1 of 1 failed, more than 0 %  ->  reverted" in said.replace("reverted 0", "reverted 1")
    assert f"shop {version} is in quarantine" in said
    view = world.rollout(rollout)
    assert (view["state"], view["failed"] + sum(w["reverted"] for w in view["waves"])) == ("reverted", 1)
    history = world.operator.fleet("rollout", "status", rollout, "--history").out
    assert f"{kind}: " in history
    world.wait(lambda: world.runs() == before, "the old release on both hosts")
    assert version in world.operator.fleet("quarantine", "list").out
    assert "is in quarantine" in world.operator.fleet("plan", status=Exit.CONFLICT).err
