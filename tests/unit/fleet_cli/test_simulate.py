"""`fleet simulate`: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet_cli.commands.simulate import simulate
from fleet_protocol.wire.errors import Exit

FLEET = """apiVersion: roadstead/v1
kind: Fleet
name: cam-eu
select: all
run: [cam@1.9.0]
rollout: {waves: [{name: first, devices: 3}, rest], stopAt: 2%, onFail: abort}
"""


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(simulate, list(arguments), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value), done.stdout


@pytest.mark.parametrize(
    ("scenario", "status", "says"),
    [("good", Exit.OK, "complete"), ("crash", Exit.ROLLOUT_FAILED, "reverting: 1 of 5 failed, more than 2 %")],
)
def test_the_exit_status_is_the_rollouts(scenario: str, status: Exit, says: str) -> None:
    assert run("--scenario", scenario, "--devices", "60")[0] == status
    assert says in run("--scenario", scenario, "--devices", "60")[1]


def test_a_fleets_own_rollout_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    status, text = run(str(path), "--scenario", "crash", "--devices", "50", "-o", "json")
    said = json.loads(text)
    assert (status, said["state"], said["told"]) == (Exit.ROLLOUT_FAILED, "aborted", 3)
    assert [w["name"] for w in said["rollout"]["waves"]] == ["first", "rest"]


def test_without_a_scenario_all_of_them_are_a_table() -> None:
    status, text = run("--devices", "20")
    listed = run("--list")[1].splitlines()
    assert status == 0
    assert text.splitlines()[0].split() == ["SCENARIO", "ENDS", "AFTER", "TOLD", "FAILED", "AWAY", "ON", "NEW", "WHY"]
    assert [line.split()[0] for line in text.splitlines()[1:]] == [line.split()[0] for line in listed[1:]]


def test_an_unknown_scenario_is_a_usage_error_that_names_the_known_ones() -> None:
    import click

    with pytest.raises(click.BadParameter, match="is none of good, crash"):
        run("--scenario", "bad")
