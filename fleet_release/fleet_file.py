"""fleet.yaml compiled into the FleetSpec that the server plans with. `{label.site}` stays as written for the server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fleet_protocol.documents.fleet import FleetSpec
from fleet_protocol.documents.release import Release
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.compile_config import undeclared
from fleet_release.compose.load import read_file
from fleet_release.findings import Findings, Mark
from fleet_release.manifest.fleet_models import FleetFile
from fleet_release.manifest.read_model import read_model
from fleet_release.rollout_spec import rollout_spec
from fleet_release.yaml_tree import Map, Node, Scalar, locate, parse, plain

TEXTS = (("config", "*", "*"),)


def load_fleets(paths: Iterable[Path]) -> list[FleetSpec]:
    """Every fleet of the files. Raises FilesRefusedError with all findings."""
    findings = Findings()
    out: list[FleetSpec] = []
    for path in paths:
        try:
            text = read_file(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            findings.add("E0433", Mark(str(path)), f"{path} cannot be read: {(reason or 'no such file').lower()}")
            continue
        compiled = [compile_fleet(tree, findings) for tree in parse(str(path), text, findings)]
        out += [spec for spec in compiled if spec is not None]
    findings.refuse()
    return out


def compile_fleet(tree: Node, findings: Findings) -> FleetSpec | None:
    """One document of kind Fleet; None when it has errors."""
    before = len(findings.errors())
    file = read_model(FleetFile, tree, findings, texts=TEXTS)
    if file is None or not isinstance(tree, Map):
        return None
    apps = [reference.partition("@")[0] for reference in file.run]
    for i, app in enumerate(apps):
        if app in apps[:i]:
            findings.add(
                "E0452", locate(tree, ("run", i)), f"{app} stands here twice; a device runs one release of an app"
            )
    for app in file.config:
        if app not in apps:
            findings.add("E0453", locate(tree, ("config", app), key=True), f"{app} is not an app that this fleet runs")
    rollout = rollout_spec(file, tree, findings)
    if len(findings.errors()) != before:
        return None
    try:
        return FleetSpec.from_value(_spec(file, tree, rollout))
    except DocumentInvalidError as error:
        findings.add("E0414", tree.mark, error.reason)
        return None


def _spec(file: FleetFile, tree: Map, rollout: dict[str, Any]) -> dict[str, Any]:
    settings = {
        "report_every_s": file.settings.report_every,
        "sample_every_s": file.settings.sample_every,
        "images_quota_bytes": file.settings.images_quota,
        "log_bytes_per_container": file.settings.log_per_container,
    }
    contact = tree.get("contact")
    select = tree.get("select")
    every = isinstance(select, Scalar) and select.value == "all"
    return {
        "name": file.name,
        "select": {} if every else file.select,
        "select_all": every,
        "run": [dict(zip(("app", "version"), reference.split("@"), strict=True)) for reference in file.run],
        "config": file.config,
        "settings": {k: v for k, v in settings.items() if v is not None},
        "contact": plain(contact) if isinstance(contact, Map) else {},
        "rollout": rollout,
    }


def check_against_release(spec: FleetSpec, tree: Node, release: Release, findings: Findings) -> None:
    """Values that the release does not declare are refused here, before a server or a device sees them."""
    for name, sentence, suggestion in undeclared(release, spec.config.get(release.app, {})):
        mark = locate(tree, ("config", release.app, name), key=True)
        findings.add("E0453", mark, sentence, suggestion=suggestion)
