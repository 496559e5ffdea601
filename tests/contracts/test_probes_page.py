"""docs/probes.md says what the manifest and the release do."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from edge_daemon.keeper.probes import MOST_AT_ONCE, rule_of
from fleet_protocol.documents.release import Probe
from fleet_release.manifest.app_file import AppProbe

PAGE = (Path(__file__).parents[2] / "docs" / "probes.md").read_text()


def test_the_example_is_understood_as_the_page_says() -> None:
    example = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])["probes"]

    found = {
        name: Probe.model_validate_json(json.dumps(AppProbe.model_validate(text).values()))
        for name, text in example.items()
    }

    assert (found["web"].http_port, found["web"].http_path, found["web"].start_period_s) == (8080, "/health", 30)
    assert (found["db"].tcp_port, found["db"].every_s) == (5432, 5)
    assert found["worker"].exec_args == ("/app/alive", "--quick")
    assert (found["worker"].every_s, found["worker"].healthy_for_s) == (60, 120)


def test_the_defaults_are_those_of_the_page_and_of_the_keeper() -> None:
    usual = Probe(tcp_port=80)

    assert "| `interval` | `every` | 30 s, 10 s |" in PAGE
    assert "| `timeout` | `timeout` | 30 s, 3 s |" in PAGE
    assert (usual.every_s, usual.timeout_s, usual.start_period_s, usual.failures, usual.healthy_for_s) == (
        10, 3, 0, 3, 0,
    )  # fmt: skip
    assert rule_of({"tcp_port": 80}) == rule_of(usual.model_dump(mode="json", exclude_none=True))
    assert f"At most {'four' if MOST_AT_ONCE == 4 else MOST_AT_ONCE} questions" in PAGE
