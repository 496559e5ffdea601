"""What the command line calls: lint files, prepare a release up to the signature, write the first files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_protocol.documents.release import Image, Release
from fleet_release.codes import explain as explain_finding
from fleet_release.compile import USUAL_PLATFORMS, Draft
from fleet_release.compose.load import DiskFiles, beside, read_file
from fleet_release.compose.model import AddedDefault
from fleet_release.findings import FilesRefusedError, Finding, Findings, Mark
from fleet_release.images.errors import EXPLANATIONS, ImageNotFoundError
from fleet_release.images.model import ResolvedImage
from fleet_release.images.sources import ImageSources
from fleet_release.lint import LintReport, ReadApp, checked_release, lint, read_app
from fleet_release.yaml_tree import Map, Scalar, parse


@dataclass(frozen=True, slots=True)
class PreparedRelease:
    """A release that lacks its counter and its signature. `release_without_counter` says 1 until the signer sets it:
    `release.model_copy(update={"release_counter": n})`."""

    release_without_counter: Release
    added_defaults: tuple[AddedDefault, ...]
    images: tuple[ResolvedImage, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]  # warnings and notes only


def lint_paths(paths: Iterable[Path], environment: Mapping[str, str] | None = None) -> LintReport:
    """Every fault of every file at once; nothing is raised."""
    return lint([str(p) for p in paths], DiskFiles(), os.environ if environment is None else environment)


def load_app(path: Path, environment: Mapping[str, str] | None = None) -> tuple[ReadApp, Findings]:
    """The one App document of `path`, compiled. Raises FilesRefusedError with all findings."""
    findings = Findings()
    name = os.path.normpath(str(path))
    try:
        text = read_file(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        findings.add("E0433", Mark(name), f"{name} cannot be read: {(reason or 'no such file').lower()}")
        raise FilesRefusedError(findings.errors()) from error
    trees = [t for t in parse(name, text, findings) if isinstance(t, Map) and _is_app(t)]
    findings.refuse()
    if len(trees) != 1:
        findings.add("E0411", Mark(name), f"{name} holds {len(trees)} documents of kind App, wants one")
        findings.refuse()
    app = read_app(name, trees[0], DiskFiles(), os.environ if environment is None else environment, findings)
    if app is not None:
        checked_release(app, findings)
    findings.refuse()
    assert app is not None
    return app, findings


def image_files(app: ReadApp, flags: Mapping[str, Path]) -> dict[str, Path]:
    """Image name -> file: `images` of app.yaml (relative to it), and the flags over them. Raises ImageNotFoundError for
    a flag that names an image which no service uses."""
    out = {name: Path(beside(app.path, path)) for name, path in app.file.images.items()}
    used = {r for s in (app.draft.services if app.draft else ()) for r in (s.image, *s.image_of.values())}
    for name in flags:
        if name not in used:
            raise ImageNotFoundError("no service uses an image of this name", element=name)
    return {**out, **flags}


def prepare_release(
    app_yaml: Path,
    sources: ImageSources,
    platforms: tuple[str, ...] = (),
    *,
    environment: Mapping[str, str] | None = None,
) -> PreparedRelease:
    """Read, compile, resolve every image for every platform, verify every layer.

    `platforms`: the command line's; else app.yaml's; else those of the usual ones that every image offers. app.yaml's
    `images` are laid below `sources.files`. Raises FilesRefusedError, ImageRefusedError, ImageNotFoundError or a
    registry's error.
    """
    app, findings = load_app(app_yaml, environment)
    draft = app.draft
    assert draft is not None
    sources.files = image_files(app, sources.files)
    notes: list[str] = []
    chosen = platforms or draft.platforms or _offered(draft, sources, notes)
    resolved: dict[tuple[str, str], ResolvedImage] = {}
    for platform in chosen:
        for reference in dict.fromkeys(s.reference(platform) for s in draft.services):
            resolved[reference, platform] = sources.image(reference).resolve(platform)
    images: dict[tuple[str, str], Image] = {
        (s.name, p): resolved[s.reference(p), p].as_document() for s in draft.services for p in chosen
    }
    notes += [
        f"{i.name} {i.platform}: {i.source_digest} in {i.origin} is released as {i.manifest.digest}"
        for i in resolved.values()
        if i.converted
    ]
    return PreparedRelease(draft.release(images), draft.added, tuple(resolved.values()), tuple(notes), findings.notes())


def _offered(draft: Draft, sources: ImageSources, notes: list[str]) -> tuple[str, ...]:
    images = {name: sources.image(name) for s in draft.services for name in (s.image, *s.image_of.values())}
    offers = [tuple(p for p in USUAL_PLATFORMS if p in images[s.reference(p)].platforms()) for s in draft.services]
    chosen = tuple(p for p in USUAL_PLATFORMS if all(p in o for o in offers))
    if not chosen:
        detail = "; ".join(f"{name}: {', '.join(i.platforms()) or 'none'}" for name, i in images.items())
        raise ImageNotFoundError(f"its images have no platform in common ({detail})", element=draft.app)
    notes.append(f"for {', '.join(chosen)}: what all images offer; name `platforms` in app.yaml to choose")
    return chosen


def explain(code: str) -> str | None:
    """The paragraph of any code that this package uses."""
    return explain_finding(code) or EXPLANATIONS.get(code.strip().upper())


def _is_app(tree: Map) -> bool:
    kind = tree.get("kind")
    return kind is None or (isinstance(kind, Scalar) and kind.value == "App")
