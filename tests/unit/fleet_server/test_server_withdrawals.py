from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from trust_support import World

from fleet_protocol.documents.release import Withdrawal
from fleet_release.trust.release_role import withdraw
from fleet_server.store.records import DesiredRow, ReportedRow
from fleet_server.withdrawals import concerned


def row(device: str, *apps: tuple[str, str]) -> DesiredRow:
    payload = json.dumps({"apps": [{"app": app, "release": release} for app, release in apps]}).encode()
    return DesiredRow(device, 1, "a" * 64, payload, b"", 0, 0)


def said(device: str, release: str) -> ReportedRow:
    return ReportedRow(device, 0, json.dumps({"apps": [{"app": "cam", "release": release}]}).encode())


SAID = [said("two", "1.1.0"), said("behind", "1.0.0")]
ROWS = [row("one", ("cam", "1.0.0")), row("two", ("cam", "1.1.0")), row("three", ("blog", "1.0.0")), row("four")]


@pytest.mark.parametrize(("effect", "names"), [("stop", ["behind", "one"]), ("refuse", [])])
def test_those_that_run_what_is_to_be_stopped_are_asked_to_look(
    tmp_path: Path, effect: Literal["stop", "refuse"], names: list[str]
) -> None:
    world = World(tmp_path)
    data = signed(world, effect)
    assert concerned("release/cam", data, ROWS, SAID) == names


def test_other_roles_concern_nobody() -> None:
    assert concerned("targets", b"not even read", ROWS, SAID) == []


def signed(world: World, effect: Literal["stop", "refuse"]) -> bytes:
    withdrawal = Withdrawal(version="1.0.0", effect=effect)
    return withdraw(world.opened(), withdrawal, [world.trust.release_signer("cam")], world.time.now).data
