"""`fleet init`, `lint`, `explain`, `schema`: what an engineer does before anything is signed. No server is needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet_cli.output import colour, talk
from fleet_cli.params import APP, VERSION, existing_file
from fleet_protocol.wire.errors import Exit

if TYPE_CHECKING:
    from fleet_release.findings import Finding


@click.command()
@click.argument("compose", type=existing_file, default="compose.yaml")
@click.option("--name", type=APP, help="The app's name; else the folder's.")
@click.option("--version", type=VERSION, default="0.1.0", show_default=True, help="The first version.")
@click.option("--force", is_flag=True, help="Write the files anew if they are there.")
def init(compose: Path, name: str | None, version: str, force: bool) -> None:
    """Write app.yaml and fleet.yaml beside a compose file."""
    from fleet_release.scaffold import scaffold

    made = scaffold(compose, name=name or "", version=version, force=force)
    for path in made.written:
        talk(f"wrote {path}")
    show_findings(made.findings)
    talk("Next: read app.yaml, choose whom fleet.yaml selects, then  fleet lint app.yaml fleet.yaml")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def lint(files: tuple[Path, ...]) -> int:
    """Every error in app.yaml, fleet.yaml and compose files at once. A folder stands for its app.yaml and fleet.yaml;
    without FILES it is this one."""
    from fleet_release.release import lint_paths

    files = tuple(named for path in files or (Path(),) for named in _in_folder(path))
    report = lint_paths(files)
    show_findings(report.findings)
    errors = len(report.errors)
    if errors:
        talk(f"{errors} error(s)")
        return int(Exit.OTHER)
    talk(f"{len(files)} file(s), no errors")
    return 0


def _in_folder(path: Path) -> tuple[Path, ...]:
    if not path.is_dir():
        return (path,)
    usual = [path / name for name in ("app.yaml", "fleet.yaml")]
    found = tuple(p for p in usual if p.exists())
    if not found:
        raise click.UsageError(f"{path} holds neither app.yaml nor fleet.yaml")
    return found


@click.command()
@click.argument("code")
def explain(code: str) -> int:
    """What an error code means, and what to do about it."""
    from fleet_release.release import explain as paragraph

    text = paragraph(code)
    if text is None:
        talk(f"{code} is not a code of app.yaml, fleet.yaml, compose files or images; its sentence says all there is.")
        return int(Exit.NOT_FOUND)
    click.echo(text)
    return 0


@click.command()
@click.argument("kind", type=click.Choice(["app", "fleet"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of app.yaml or fleet.yaml."""
    from fleet_release.manifest.schema import export_schema

    click.echo(export_schema(kind), nl=False)


def show_findings(findings: Iterable[Finding]) -> None:
    """Each with its place, its line and a caret, on stderr."""
    for finding in findings:
        click.echo(finding.render(), err=True, color=colour())
