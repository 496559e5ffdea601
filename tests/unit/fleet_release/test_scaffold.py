from __future__ import annotations

from pathlib import Path

import pytest

from fleet_protocol.documents.rollout import AbortSpec, RolloutSpec, WaveSpec
from fleet_release.findings import FilesRefusedError
from fleet_release.release import lint_paths
from fleet_release.scaffold import FileExistsAlreadyError, scaffold

COMPOSE = """services:
  web:
    image: registry.test/web:1
    ports: ["8080:80"]
    cap_add: [NET_RAW]
    devices: [/dev/ttyUSB0]
    deploy: {update_config: {parallelism: 5, delay: 1m, monitor: 90s, max_failure_ratio: 0.05, failure_action: pause}}
  db: {image: registry.test/db:1}
"""


def test_the_first_files_pass_lint_once_a_person_has_decided_on_grants(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text(COMPOSE)
    made = scaffold(compose, name="shop", version="1.0.0", environment={})
    assert [p.relative_to(tmp_path).as_posix() for p in made.written] == [
        "app.yaml", "fleet.yaml", ".fleet/app.schema.json", ".fleet/fleet.schema.json",
    ]  # fmt: skip
    app = tmp_path / "app.yaml"
    assert app.read_text().startswith("# yaml-language-server: $schema=./.fleet/app.schema.json\n")
    fleet = tmp_path / "fleet.yaml"
    assert [e.code for e in lint_paths([app, fleet], {}).errors] == ["E0422", "E0422"]
    text = app.read_text()
    suggested = '#   - {service: web, capabilities: [CAP_NET_RAW], devices: [/dev/ttyUSB0], reason: "..."}'
    assert suggested in text
    app.write_text(
        text.replace("# grants:", "grants:").replace(suggested, suggested.removeprefix("#").replace("...", "modbus"))
    )
    report = lint_paths([app, fleet], {})
    assert report.errors == ()
    assert report.fleets[0].rollout == RolloutSpec(
        waves=(WaveSpec(name="canary", devices=5), WaveSpec(name="rest", rest=True)),
        soak_s=90,
        aborts=(AbortSpec(share=5.0),),
        on_fail="pause",
    )


def test_files_of_the_users_are_never_overwritten_unasked(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text(COMPOSE)
    (tmp_path / "app.yaml").write_text("mine")
    with pytest.raises(FileExistsAlreadyError, match="it is there already"):
        scaffold(compose, environment={})
    assert (tmp_path / "app.yaml").read_text() == "mine"
    assert not (tmp_path / "fleet.yaml").exists()
    scaffold(compose, force=True, environment={})
    assert "kind: App" in (tmp_path / "app.yaml").read_text()


def test_faults_of_the_compose_file_are_findings_and_the_files_are_written(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text("services:\n  web: {image: registry.test/web:1, privileged: true}\n")
    made = scaffold(compose, environment={})
    assert [f.code for f in made.findings] == ["E0421"]
    assert (tmp_path / "app.yaml").exists()


def test_a_compose_file_that_cannot_be_read_at_all_is_refused(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text("services: [")
    with pytest.raises(FilesRefusedError, match="cannot be read as YAML"):
        scaffold(compose, environment={})
    assert not (tmp_path / "app.yaml").exists()


def test_a_version_that_yaml_would_take_for_a_number_is_quoted(tmp_path: Path) -> None:
    compose = tmp_path / "compose.yaml"
    compose.write_text("services:\n  web: {image: registry.test/web:1}\n")
    scaffold(compose, version="1.10", environment={})
    report = lint_paths([tmp_path / "app.yaml"], {})
    assert report.errors == ()
    assert report.apps[0].file.version == "1.10"
