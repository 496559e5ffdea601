"""Rules that hold over the whole tree."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "fleet_protocol", "provisioning", "edge_daemon", "fleet_server",
    "fleet_release", "fleet_client", "tui", "fleet_cli",
)  # fmt: skip
SOURCES = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]


def test_files_are_renamed_into_place_by_the_durable_helper_only() -> None:
    allowed = {ROOT / "fleet_protocol/wire/durable.py"}
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path not in allowed
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("replace", "rename")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "os"
    ]
    assert offenders == []


def test_no_subprocess_goes_through_a_shell() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*SOURCES, *(ROOT / "demo").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]
    assert offenders == []


def test_package_files_are_empty() -> None:
    filled = [str(p.relative_to(ROOT)) for p in SOURCES if p.name == "__init__.py" and p.read_text().strip()]
    assert filled == []


@pytest.mark.parametrize("arguments", [["version"], ["ctx", "list"], ["--help"], ["get", "devices", "--help"]])
def test_quick_commands_load_no_heavy_library(arguments: list[str], tmp_path: Path) -> None:
    heavy = ["pydantic", "textual", "rich", "httpx2", "ruamel", "cryptography", "tuf", "asyncio", "sqlite3"]
    program = (
        "import sys, json\nfrom fleet_cli.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "/usr/bin:/bin", "ROADSTEAD_CONFIG": str(tmp_path / "config.yaml")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_documents_name_no_place_of_one_machine() -> None:
    texts = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *SOURCES]
    offenders = [str(p.relative_to(ROOT)) for p in texts if any(w in p.read_text() for w in ("/work/", "/root/"))]
    assert offenders == []


def test_an_error_code_stands_for_one_kind_of_error() -> None:
    said: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            for line in node.body if isinstance(node, ast.ClassDef) else ():
                if (
                    isinstance(line, ast.Assign)
                    and [ast.unparse(target) for target in line.targets] == ["code"]
                    and isinstance(line.value, ast.Constant)
                ):
                    said.setdefault(str(line.value.value), set()).add(f"{path.relative_to(ROOT)}:{node.name}")
    assert {code: places for code, places in said.items() if len(places) > 1} == {}
