"""The wheel with the extra `edge` alone: what an edge host installs is enough, and there is nothing more in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_ON_A_HOST = {"click", "fastapi", "uvicorn", "textual", "rich", "httpx2", "ruamel.yaml", "sqlite-utils", "pytest"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment."""
    folder = tmp_path_factory.mktemp("edge")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    # The versions that are locked, by name; the hashes are checked where the development environment is made.
    pins = re.findall(r"^([A-Za-z0-9._-]+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    (folder / "pins.txt").write_text("\n".join(pins))
    venv.create(folder / "venv", symlinks=True)
    target = folder / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", str(target),
        "--constraint", str(folder / "pins.txt"), f"{wheel}[edge]",
    )  # fmt: skip
    return folder / "venv" / "bin" / "python"


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_daemons_commands_start(installed: Path) -> None:
    for command in ("enroll", "run", "doctor", "status"):
        assert "usage: edge-daemon" in run(str(installed), "-I", "-m", "edge_daemon.main", command, "--help")
    assert "usage: python -m edge_daemon.prepare" in run(str(installed), "-I", "-m", "edge_daemon.prepare", "--help")


def test_every_module_of_the_host_can_be_imported(installed: Path) -> None:
    program = """
import importlib, json, pkgutil, edge_daemon, provisioning.device
parts = (edge_daemon, provisioning.device)
found = [m.name for p in parts for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
for name in found:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps(len(found)))
"""
    assert json.loads(run(str(installed), "-I", "-c", program)) > 50


def test_nothing_of_the_other_sides_is_installed(installed: Path) -> None:
    program = "import importlib.metadata as m, json; print(json.dumps([d.metadata['Name'] for d in m.distributions()]))"
    names = {name.lower() for name in json.loads(run(str(installed), "-I", "-c", program))}
    assert "roadstead" in names
    assert sorted(names & NOT_ON_A_HOST) == []
