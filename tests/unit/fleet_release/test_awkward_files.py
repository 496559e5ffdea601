"""Files that are not what a person meant to give: each is named, none hangs, none passes in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from release_support import APP, lint_files

from fleet_release.findings import FilesRefusedError, Finding
from fleet_release.fleet_file import load_fleets
from fleet_release.release import lint_paths, load_app


@pytest.mark.parametrize("text", ["", "\n", "# later\n", "---\n", "---\n---\n"])
@pytest.mark.parametrize("name", ["app.yaml", "fleet.yaml", "compose.yaml"])
def test_a_file_that_holds_nothing_is_an_error(name: str, text: str) -> None:
    report = lint_files({name: text}, None, name)
    assert [e.code for e in report.errors][:1] in (["E0411"], ["E0413"]), report.findings


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        (error,) = lint_paths([path]).errors
        assert error.code == "E0433"
        for read in (load_app, lambda p: load_fleets([p])):
            with pytest.raises(FilesRefusedError, match="cannot be read"):
                read(path)


def test_a_file_of_more_than_a_mebibyte_is_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_bytes(b"services:\n" + b"# \n" * 500_000)
    (error,) = lint_paths([path]).errors
    assert "larger than 1024" in error.message


def test_a_line_as_long_as_a_book_is_shown_around_its_place() -> None:
    finding = Finding("E0414", "f", 1, 5001, "here", source="a" * 5000 + "X" + "b" * 5000)
    _, shown, caret = finding.render().splitlines()
    assert len(shown) < 200
    assert shown[caret.index("^")] == "X"


@pytest.mark.parametrize(
    ("yaml", "code", "words"),
    [
        ('image: "A B C:::"', "E0414", "is not the name of an image"),
        ("image: a@sha256:12", "E0414", "64 lower-case hex digits"),
        ("image: a\n    depends_on: [gw]", "E0441", "gw depends on gw"),
    ],
)
def test_faults_of_a_service_are_found_before_any_registry_is_asked(yaml: str, code: str, words: str) -> None:
    compose = f"services:\n  gw:\n    {yaml}\n"
    (error,) = lint_files({"app.yaml": APP, "compose.yaml": compose}).errors
    assert (error.code, error.suggestion) == (code, "")
    assert words in error.message


def test_tabs_are_explained() -> None:
    (error,) = lint_files({"compose.yaml": "services:\n\tgw:\n"}, None, "compose.yaml").errors
    assert "spaces" in error.hint


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("limits: [a]", "wants a mapping"),
        ("health: {restarts: many}", "wants a whole number"),
        ("limits: {gw: {pids: 0}}", "at least 1"),
        ("apiVersion: roadstead/v2", "wants 'roadstead/v1'"),
        ("name: Big Cam", "a-z, 0-9 and hyphens inside, at most 32"),
    ],
)
def test_models_speak_as_people_do(line: str, words: str) -> None:
    key = line.partition(":")[0]
    kept = "".join(f"{row}\n" for row in APP.splitlines() if not row.startswith(f"{key}:"))
    files = {"app.yaml": f"{kept}{line}\n", "compose.yaml": "services: {gw: {image: a}}\n"}
    (error,) = lint_files(files, None, "app.yaml").errors
    assert words in error.message + error.hint
