"""The exported schemas are current, and editors judge as the reader does."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest
from release_support import WHOLE_FLEET
from ruamel.yaml import YAML

from fleet_release.manifest.schema import DRAFT, export_schema

COMMITTED = Path(__file__).parents[3] / "docs" / "schemas"
APP = """apiVersion: roadstead/v1
kind: App
name: cam
version: 1.9.0
compose: ./compose.yaml
defaults: {memory: 64Mi, cpus: 0.25, pids: 64, readOnly: true, capDrop: [ALL]}
limits:   {vision: {memory: 96Mi, cpus: 1.0, pids: 128}}
probes:   {gw: {http: ":8080/healthz", every: 10s, healthyFor: 60s}}
arch:     {armv7: {vision: {image: registry.test/acme/vision-lite:3.1}}}
grants:   [{service: gw, devices: [/dev/ttyUSB0], reason: modbus}]
config:
  GW_SITE: {service: gw, type: string, pattern: "[a-z0-9-]{1,32}", to: env, default: unset}
  gw.toml: {service: gw, type: text, max: 16KiB, to: /etc/gw/gw.toml}
health:   {window: 60s, restarts: 0, memorySlope: 10%/h}
"""


@pytest.mark.parametrize("kind", ["app", "fleet"])
def test_the_committed_schema_is_what_the_models_say(kind: str) -> None:
    committed = (COMMITTED / f"{kind}.schema.json").read_text()
    assert committed == export_schema(kind), f"write it anew: fleet schema {kind} > docs/schemas/{kind}.schema.json"


@pytest.mark.parametrize("kind", ["app", "fleet"])
def test_the_schema_is_draft_07_which_editors_read(kind: str) -> None:
    text = export_schema(kind)
    assert json.loads(text)["$schema"] == DRAFT
    assert "$defs" not in text
    jsonschema_rs.meta.validate(json.loads(text))


def test_the_documented_app_and_fleet_pass_the_schema_as_they_pass_lint() -> None:
    for kind, text in (
        ("app", APP),
        ("fleet", WHOLE_FLEET),
        ("fleet", WHOLE_FLEET.replace("{role: camera, region: eu}", "all")),
    ):
        validator = jsonschema_rs.validator_for(json.loads(export_schema(kind)))
        faults = [str(e) for e in validator.iter_errors(YAML(typ="safe", pure=True).load(text))]
        assert faults == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("memory: 64Mi", "memry: 64Mi"),
        ("every: 10s", "every: 10"),
        ("version: 1.9.0", "version: 1.9"),
        ("kind: App", "kind: Fleet"),
    ],
)
def test_what_lint_refuses_an_editor_underlines(old: str, new: str) -> None:
    assert old in APP
    validator = jsonschema_rs.validator_for(json.loads(export_schema("app")))
    assert not validator.is_valid(YAML(typ="safe", pure=True).load(APP.replace(old, new)))
