"""Row 79: a dependency whose file is another than the one that was locked."""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def wheel(folder: Path, content: str) -> str:
    """A small package; the SHA-256 of its file."""
    path = folder / "lever-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("lever.py", content)
        file.writestr("lever-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lever\nVersion: 1.0\n")
        file.writestr("lever-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("lever-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def installers() -> dict[str, list[str]]:
    """The two that `./dev` may use, as far as they are here; at least one is."""
    found = {}
    if uv := shutil.which("uv"):
        found["uv"] = [uv, "pip", "install", "--python", sys.executable]
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
            found["pip"] = [python, "-m", "pip", "install", "--disable-pip-version-check"]
            break
    assert found
    return found


@pytest.mark.parametrize("installer", installers())
def test_threat_79_a_file_with_another_hash_is_not_installed(tmp_path: Path, installer: str) -> None:
    genuine = wheel(tmp_path, "VALUE = 1\n")
    lock, target = tmp_path / "requirements.lock", tmp_path / "target"
    lock.write_text(f"lever==1.0 \\\n    --hash=sha256:{genuine}\n")
    more = ["--no-index", "--find-links", str(tmp_path), "--require-hashes", "--only-binary=:all:"]
    if installer == "uv":
        more += ["--no-cache"]
    command = [*installers()[installer], *more, "--target", str(target), "-r", str(lock)]

    (file,) = tmp_path.glob("*.whl")
    kept = file.read_bytes()
    wheel(tmp_path, "VALUE = 'evil'\n")
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode != 0
    assert "hash" in (said.stderr + said.stdout).lower()
    assert not (target / "lever.py").exists()

    file.write_bytes(kept)
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    assert (target / "lever.py").read_text() == "VALUE = 1\n"


def test_threat_79_every_locked_dependency_has_a_wheel_and_its_hashes() -> None:
    packages = [p for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"] if p["name"] != "roadstead"]
    assert len(packages) > 20
    for package in packages:
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        assert package.get("wheels"), f"{package['name']} would be built from source"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) for file in files), package["name"]
        assert package["source"] == {"registry": "https://pypi.org/simple"}, package["name"]
    locked = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text())
    pinned = [entry for entry in locked if not entry.startswith("#")]
    assert all(re.match(r"[a-z0-9._-]+==\S+", entry) and DIGEST.search(entry) for entry in pinned)


def test_threat_79_the_door_installs_what_is_locked_and_nothing_else() -> None:
    commands = [
        [part.value for part in node.elts if isinstance(part, ast.Constant)]
        for node in ast.walk(ast.parse((ROOT / "dev").read_text()))
        if isinstance(node, ast.List)
    ]
    (sync,) = [words for words in commands if words[:2] == ["uv", "sync"]]
    assert "--locked" in sync
    installs = [words for words in commands if "-r" in words]
    assert [{"--require-hashes", "--only-binary=:all:"} <= set(words) for words in installs] == [True]
