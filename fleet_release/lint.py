"""Every fault of app.yaml, fleet.yaml and compose files at once. Pure over texts: files come from a `Files`."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fleet_protocol.documents.fleet import FleetSpec
from fleet_protocol.documents.release import Image, Release
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.compile import STAND_IN, Draft, compile_app
from fleet_release.compose.load import Files, Sources, beside, load_tree, read_text, variables_of
from fleet_release.compose.model import ComposeProject
from fleet_release.compose.service import read_project
from fleet_release.findings import Finding, Findings, Mark, Severity, did_you_mean
from fleet_release.fleet_file import check_against_release, compile_fleet
from fleet_release.manifest.app_file import AppFile
from fleet_release.manifest.read_model import read_model
from fleet_release.yaml_tree import Map, Node, Scalar, locate, parse

APP_TEXTS = (("config", "*", "default"),)
KINDS = ("App", "Fleet")


@dataclass(frozen=True, slots=True)
class ReadApp:
    """An app.yaml with its compose file; `draft` is None when there are errors."""

    path: str
    tree: Map
    file: AppFile
    project: ComposeProject | None
    draft: Draft | None
    compose: tuple[str, ...] = ()


@dataclass(slots=True)
class LintReport:
    """What lint found, and what it read."""

    findings: tuple[Finding, ...] = ()
    apps: list[ReadApp] = field(default_factory=list)
    fleets: list[FleetSpec] = field(default_factory=list)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Only what stops a release."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)


def lint(paths: Iterable[str], files: Files, environment: Mapping[str, str]) -> LintReport:
    """Look at everything; raise nothing."""
    findings = Findings()
    report = LintReport()
    fleets: list[tuple[Map, FleetSpec]] = []
    composes: list[str] = []
    for path in dict.fromkeys(os.path.normpath(p) for p in paths):
        text = _text(path, files, findings)
        if text is None:
            continue
        trees = parse(path, text, findings)
        if not trees and path not in {f.file for f in findings.errors()}:
            findings.add("E0411", Mark(path), "the file holds nothing")
        for tree in trees:
            match _kind(tree, findings):
                case "App":
                    if isinstance(tree, Map) and (app := read_app(path, tree, files, environment, findings)):
                        report.apps.append(app)
                case "Fleet":
                    if isinstance(tree, Map) and (spec := compile_fleet(tree, findings)):
                        fleets.append((tree, spec))
                case "compose":
                    composes.append(path)
    named = {c for app in report.apps for c in app.compose}
    for path in composes:
        if path not in named:
            _lint_compose(path, files, environment, findings)
    _cross_check(report.apps, fleets, findings)
    report.fleets = [spec for _, spec in fleets]
    report.findings = findings.all()
    return report


def read_app(path: str, tree: Map, files: Files, environment: Mapping[str, str], findings: Findings) -> ReadApp | None:
    """One App document with its compose files, compiled as far as it goes."""
    before = len(findings.errors())
    file = read_model(AppFile, tree, findings, texts=APP_TEXTS)
    if file is None:
        return None
    compose = tuple(beside(path, name) for name in file.compose)
    project = read_compose(compose, files, environment, findings, locate(tree, ("compose",)))
    draft = compile_app(file, tree, project, findings) if project is not None else None
    return ReadApp(path, tree, file, project, draft if len(findings.errors()) == before else None, compose)


def read_compose(
    paths: tuple[str, ...],
    files: Files,
    environment: Mapping[str, str],
    findings: Findings,
    named_at: Mark | None = None,
) -> ComposeProject | None:
    """Compose files, later ones laid over earlier ones."""
    variables = variables_of(paths[0], files, environment, findings)
    sources = Sources(files, variables, findings)
    tree = load_tree(paths, sources, named_at)
    return read_project(tree, sources) if tree is not None else None


def _text(path: str, files: Files, findings: Findings) -> str | None:
    from fleet_release.compose.interpolate import Variables

    return read_text(Sources(files, Variables({}), findings), path, None)


def _kind(tree: Node, findings: Findings) -> str:
    if not isinstance(tree, Map):
        findings.add("E0413", tree.mark, "the file is a mapping of keys")
        return ""
    kind = tree.get("kind")
    if kind is None:
        if "apiVersion" not in tree.entries:
            return "compose"
        findings.add("E0411", tree.mark, '"kind" is missing: App or Fleet')
        return ""
    if isinstance(kind, Scalar) and kind.value in KINDS:
        return str(kind.value)
    said = kind.text if isinstance(kind, Scalar) else ""
    findings.add("E0414", kind.mark, "kind is App or Fleet", suggestion=did_you_mean(said, KINDS))
    return ""


def _lint_compose(path: str, files: Files, environment: Mapping[str, str], findings: Findings) -> None:
    """A compose file by itself: grants are app.yaml's matter, so what needs one is a warning here."""
    own = Findings()
    project = read_compose((path,), files, environment, own)
    if project is not None:
        app = AppFile.model_validate({"apiVersion": "roadstead/v1", "kind": "App", "name": "app", "version": "0"})
        compile_app(app, Map(Mark(path)), project, own)
    findings.take(own, lambda f: replace(f, severity=Severity.WARNING) if f.code == "E0422" else f)


def _cross_check(apps: list[ReadApp], fleets: list[tuple[Map, FleetSpec]], findings: Findings) -> None:
    """A fleet's values against an app of the same version that lies beside it."""
    for app in apps:
        if app.draft is None:
            continue
        release = checked_release(app, findings)
        if release is None:
            continue
        for tree, spec in fleets:
            if any(r.app == release.app and r.version == release.version for r in spec.run):
                check_against_release(spec, tree, release, findings)


def checked_release(app: ReadApp, findings: Findings) -> Release | None:
    """The release with stand-ins for images, to see whether the whole hangs together."""
    if app.draft is None:
        return None
    images: dict[tuple[str, str], Image] = {(s.name, "linux/amd64"): STAND_IN for s in app.draft.services}
    try:
        return app.draft.release(images)
    except DocumentInvalidError as error:
        place = locate(app.tree, ("strategy",)) if "start-first" in error.reason else app.tree.mark
        findings.add("E0414", place, error.reason)
        return None
