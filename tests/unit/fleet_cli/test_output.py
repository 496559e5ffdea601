from __future__ import annotations

import json

import pytest

from fleet_cli import output
from fleet_cli.commands.describe import lines
from fleet_cli.output import Column


@pytest.mark.parametrize(
    ("at", "now", "words"),
    [
        (None, 0, "-"),
        (100.0, 100.0, "0s"),
        (0.5, 100.0, "99s"),
        (1.0, 601.0, "10m"),
        (1.0, 1 + 3 * 3600, "3h"),
        (1.0, 1 + 9 * 86400, "9d"),
    ],
)
def test_ages_are_short(at: float | None, now: float, words: str) -> None:
    assert output.age(at, now) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "-"), (0, "0"), (16 << 20, "16Mi"), (1536, "1.5Ki"), (5 << 30, "5Gi"), (3 << 40, "3072Gi")],
)
def test_sizes_are_short(count: float | None, words: str) -> None:
    assert output.size(count) == words


def test_strings_from_a_device_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\u202egnp.exe[red]"
    output.show(
        "Device", [{"device_id": evil}], [Column("NAME", lambda r: r["device_id"])], "table", key="device_id", empty=""
    )
    printed = capsys.readouterr().out
    assert "\x1b" not in printed.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert "\u202e" not in printed
    assert "[red]" in printed


def test_json_carries_every_field_and_the_version_of_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("Device", [{"device_id": "a", "more": 1}], [], "json", key="device_id", empty="")
    assert json.loads(capsys.readouterr().out) == {
        "apiVersion": "roadstead/v1",
        "kind": "DeviceList",
        "items": [{"device_id": "a", "more": 1}],
    }


def test_an_empty_list_says_what_to_do_on_stderr_and_nothing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("Device", [], [], "table", key="device_id", empty="Make a token.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Make a token.\n")


def test_a_described_device_shows_limits_and_the_refusal() -> None:
    row = {
        "device_id": "edge-1", "state": "failed", "why": "refused", "labels": {"site": "lyon"}, "last_seen": None,
        "online": True, "certificate_expires": 0, "desired_generation": 3, "events": [],
        "reported": {
            "generation": 2, "running_generation": 2, "refusal": {"sentence": "While verifying, it failed"},
            "apps": [{"app": "shop", "release": "1.0", "state": "ok", "services": [
                {"name": "web", "state": "running", "memory_bytes": 1 << 20, "pids": 2, "restarts": 1,
                 "limits": {"memory_bytes": 16 << 20, "swap_bytes": 0, "cpu_millis": 250, "pids": 32}}]}],
        },
    }  # fmt: skip
    text = "\n".join(lines(row))
    assert "accepted 2, desired 3" in text
    assert "refused: While verifying, it failed" in text
    assert "memory 1Mi of 16Mi  swap 0  cpu 0.25  pids 2 of 32  restarts 1" in text
