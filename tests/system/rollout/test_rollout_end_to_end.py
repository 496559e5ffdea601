"""Rollouts with everything real: server, broker, two hosts, containers, the operator's command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_world_support import FleetWorld, fleet_world

from fleet_protocol.wire.errors import Exit

CRASHES = "sleep 1; exit 7"
LEAKS = (
    "y=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11; do y=$$y$$y; done; x=;"
    " while true; do x=$$x$$y; sleep 0.1; done"
)
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


@pytest.mark.timeout(300)
def test_a_device_that_was_unplugged_in_its_wave_catches_up_through_the_gate(world: FleetWorld) -> None:
    rollout = world.begin_rollout("3.0.0", app="health: {window: 10s, restarts: 0}\n")
    canary = next(name for name, row in world.devices().items() if row["desired_generation"] != _accepted(row))
    other = next(name for name in world.names if name != canary)
    world.kill(other)  # what a power cut does to its connection; the container is its own
    before = world.rollout(rollout)
    assert before["state"] == "running"
    said = world.operator.fleet("rollout", "watch", rollout, "--until", "done", "--timeout", "120").out
    assert "complete: 1 device(s) run shop 3.0.0, 1 deferred" in said
    chain = world.operator.fleet("rollout", "why", rollout, other).out
    assert "deferred: away" in chain
    world.operator.fleet("rollout", "watch", rollout, "--strict", status=Exit.TIMED_OUT)
    assert world.runs()[other] == "1.0.0"
    world.start_edge(other)
    world.wait(lambda: world.runs() == dict.fromkeys(world.names, "3.0.0"), "the device that came back", 90)
    world.wait(lambda: world.rollout(rollout)["deferred"] == 0, "its verdict")
    world.operator.fleet("rollout", "watch", rollout, "--strict")


@pytest.mark.timeout(300)
def test_a_server_that_is_killed_in_the_middle_changes_no_decision(world: FleetWorld) -> None:
    before = {name: row["desired_generation"] for name, row in world.devices().items()}
    rollout = world.begin_rollout("3.1.0")
    watching = subprocess.Popen(
        [sys.executable, "-c", "from fleet_cli.main import main; main()", "rollout", "watch", rollout],
        cwd=world.operator.folder, env=world.operator.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    first = watching.stdout.readline()
    assert first.startswith("wave 1/2"), first
    world.kill("server")
    world.start_server()
    said, _ = watching.communicate(timeout=120)
    assert watching.returncode == 0, said
    assert "waiting for it" in said  # it was seen to be away, and came back
    assert said.splitlines()[-1] == "complete: 2 device(s) run shop 3.1.0"
    assert world.runs() == dict.fromkeys(world.names, "3.1.0")
    # Each device was told once, by whichever server.
    history = world.operator.fleet("rollout", "status", rollout, "--history").out
    assert history.count("  give ") == 2
    after = {name: row["desired_generation"] for name, row in world.devices().items()}
    assert after == {name: generation + 1 for name, generation in before.items()}


@pytest.mark.timeout(300)
def test_what_is_taken_back_leaves_a_device_that_was_away_when_it_returns(world: FleetWorld) -> None:
    (before,) = set(world.runs().values())
    rollout = world.begin_rollout("3.2.0")
    world.operator.fleet("rollout", "watch", rollout)
    away = world.names[1]
    world.kill(away)
    world.wait(lambda: not world.devices()[away]["online"], "the host to be away", 90)
    world.operator.fleet("rollout", "abort", rollout, "--revert", "--reason", "customers complain", "--yes")
    said = world.operator.fleet("rollout", "watch", rollout, "--timeout", "90", status=Exit.ROLLOUT_FAILED).out
    assert "revert by admin: customers complain" in said
    assert world.runs() == {world.names[0]: before, away: "3.2.0"}
    world.start_edge(away)
    world.wait(lambda: world.runs() == dict.fromkeys(world.names, before), "the device to go back", 90)
    assert "3.2.0" in world.operator.fleet("quarantine", "list").out
    world.operator.fleet("quarantine", "lift", "shop@3.2.0", "--reason", "it was the weather", "--yes")
    assert "3.2.0" not in [row["release"] for row in world.operator.items("quarantine", "list")]


@pytest.mark.timeout(300)
def test_a_slow_leak_is_found_by_the_canary_itself(world: FleetWorld) -> None:
    before = world.runs()
    health = "health: {window: 6s, restarts: 0, memorySlope: 100%/h}\n"
    rollout = world.begin_rollout("3.3.0", LEAKS, app=health)
    said = world.operator.fleet("rollout", "watch", rollout, "--timeout", "200", status=Exit.ROLLOUT_FAILED).out
    assert "shop 3.3.0 is in quarantine" in said
    assert "memory-slope: " in world.operator.fleet("rollout", "status", rollout, "--history").out
    world.wait(lambda: world.runs() == before, "the release before it")


def _accepted(row: dict[str, Any]) -> int:
    return int((row.get("reported") or {}).get("generation", 0))
