from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_daemon.keeper import starter
from edge_daemon.keeper.runtime import monitor, posture, programs, sealcheck
from edge_daemon.keeper.runtime.errors import RuntimeFailedError, SealBrokenError
from edge_daemon.layout import Layout

HASH = "a" * 64
OPTIONS = ["--state-dir", "/s", "--run-dir", "/r", "--cgroup-parent", "/p", "--runtime", "runc"]


def test_what_the_keeper_imports_stays_small() -> None:
    heavy = [
        "subprocess",
        "dataclasses",
        "ctypes",
        "asyncio",
        "tempfile",
        "shutil",
        "hashlib",
        "inspect",
        "argparse",
        "logging",
    ]
    program = (
        "import sys, json\nfrom edge_daemon.keeper.runtime import host, posture\n"
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "the first word is one of start, retune, remove, probe, readiness, hook, hand-over, settle, prune"),
        (
            ["stop", *OPTIONS],
            "the first word is one of start, retune, remove, probe, readiness, hook, hand-over, settle, prune",
        ),
        (["remove", *OPTIONS[2:], "shop", "web"], "--state-dir is missing"),
        (["remove", *OPTIONS, "shop"], "remove takes 2 words, got 1"),
        (["start", *OPTIONS, "shop", "web", HASH, "b" * 63, "1"], "is neither a name, a hash nor a number"),
        (["start", *OPTIONS, "shop", "..", HASH, HASH, "1"], "is neither a name, a hash nor a number"),
        (["remove", *OPTIONS, "shop", "web", "--runtime"], "--runtime wants a value"),
    ],
)
def test_the_starters_command_line_is_read_strictly(words: list[str], reason: str) -> None:
    with pytest.raises(starter.UsageError, match=reason):
        starter.parse(words)


def test_the_starters_command_line_is_read_in_any_order() -> None:
    verb, options, words = starter.parse(["start", "shop", *OPTIONS, "web", HASH, HASH, "65536"])
    assert (verb, options["--run-dir"], words) == ("start", "/r", ["shop", "web", HASH, HASH, "65536"])


def sealed(tmp_path: Path, **changes: Any) -> tuple[Layout, str]:
    layout = Layout(tmp_path / "state", tmp_path / "run")
    folder = layout.revision("shop", HASH)
    (folder / "services/web").mkdir(parents=True)
    (folder / "services/web/config.json").write_text("{}")
    files = {"services/web/config.json": hashlib.sha256(b"{}").hexdigest()}
    revision = {
        "schema": "roadstead/revision/v1",
        "app": "shop",
        "revision": HASH,
        "services": [{"name": "web"}],
        "files": files,
    }
    data = json.dumps({**revision, **changes}).encode()
    (folder / "revision.json").write_bytes(data)
    return layout, hashlib.sha256(data).hexdigest()


def test_a_whole_revision_passes(tmp_path: Path) -> None:
    layout, seal = sealed(tmp_path)
    assert sealcheck.check(layout, "shop", "web", HASH, seal).config == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"app": "blog"}, "of another app, revision or format", id="of another app"),
        pytest.param({"revision": "b" * 64}, "of another app, revision or format", id="of another revision"),
        pytest.param({"schema": "roadstead/revision/v9"}, "of another app, revision or format", id="of another format"),
        pytest.param({"files": {}}, "config.json is not what was sealed", id="with a configuration that is not listed"),
        pytest.param({"files": {"services/web/x": HASH}}, "sealed files were altered", id="with a file missing"),
    ],
)
def test_a_revision_that_is_not_this_one_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    layout, seal = sealed(tmp_path, **changes)
    with pytest.raises(SealBrokenError, match=words):
        sealcheck.check(layout, "shop", "web", HASH, seal)


def test_a_link_in_the_place_of_a_sealed_file_is_an_alteration(tmp_path: Path) -> None:
    layout, seal = sealed(tmp_path)
    config = layout.revision("shop", HASH) / "services/web/config.json"
    config.rename(tmp_path / "elsewhere")
    config.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SealBrokenError, match="sealed files were altered"):
        sealcheck.check(layout, "shop", "web", HASH, seal)


def test_a_service_that_the_revision_does_not_have_is_named(tmp_path: Path) -> None:
    layout, seal = sealed(tmp_path)
    with pytest.raises(RuntimeFailedError, match="the revision has no service other"):
        sealcheck.check(layout, "shop", "other", HASH, seal)


@pytest.mark.parametrize(
    ("user", "owner"),
    [(0, (1_000_000, 1_000_000, 1_000_000, 1_000_000)), (7, (1_000_000, 1_000_000, 1_000_007, 1_000_007))],
)
def test_users_of_a_container_are_shifted_into_its_range(user: int, owner: tuple[int, ...]) -> None:
    mapping = [{"containerID": 0, "hostID": 1_000_000, "size": 65536}]
    config = {
        "process": {"user": {"uid": user, "gid": user}},
        "linux": {"uidMappings": mapping, "gidMappings": mapping},
    }
    assert sealcheck.owner(config) == owner


def test_a_user_beyond_the_range_is_refused() -> None:
    mapping = [{"containerID": 0, "hostID": 1_000_000, "size": 65536}]
    config = {"process": {"user": {"uid": 65536, "gid": 0}}, "linux": {"uidMappings": mapping, "gidMappings": mapping}}
    with pytest.raises(RuntimeFailedError, match="outside its range of users"):
        sealcheck.owner(config)


@pytest.mark.parametrize(("size", "rotated"), [(8 * 1024, False), (40 * 1024, True)])
def test_a_log_that_has_used_half_its_room_is_put_aside_before_the_next_run(
    tmp_path: Path, size: int, rotated: bool
) -> None:
    log = tmp_path / "ctr.log"
    log.write_bytes(b"x" * size)
    monitor.rotate_log(str(log), 128 * 1024)
    assert (tmp_path / "ctr.log.1").exists() == rotated
    assert log.exists() != rotated


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(RuntimeFailedError, match="sleep did not end within 0 s"):
        programs.run(["/bin/sleep", "100"], seconds=0.05)


def test_a_program_has_a_fixed_environment_and_no_ignored_signal() -> None:
    done = programs.run(["/bin/sh", "-c", "env | sort; grep SigIgn /proc/self/status; cat; exit 3"], stdin=b"given")
    said = done.out.decode().splitlines()
    assert done.status == 3
    assert {line.split("=")[0] for line in said[:-2]} <= {"LANG", "PATH", "PWD", "OLDPWD", "_", "SHLVL"}
    assert int(said[-2].split()[1], 16) & (1 << 12) == 0
    assert said[-1] == "given"


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeFailedError, match="the program no-such-thing is not installed"):
        programs.run(["no-such-thing"])


@pytest.mark.parametrize(
    ("kind", "said", "vulnerable", "mended_in"),
    [
        pytest.param("runc", "runc version 1.1.5+ds1\ncommit: x", True, "1.3.6", id="Debian 12's runc"),
        pytest.param("runc", "runc version 1.3.6", False, "", id="mended in its own line"),
        pytest.param("runc", "runc version 1.4.2", True, "1.4.3", id="a newer line before its mend"),
        pytest.param("runc", "runc version 1.5.0", False, "", id="the line that began mended"),
        pytest.param("crun", "crun version 1.8.1", True, "1.27", id="Debian 12's crun"),
        pytest.param("crun", "crun version 1.27", False, "", id="mended crun"),
    ],
)
def test_a_version_below_the_floor_of_a_known_fault_is_reported_with_its_mend(
    kind: str, said: str, vulnerable: bool, mended_in: str
) -> None:
    found = posture.judge(kind, said)
    assert (bool(found.faults), found.mended_in) == (vulnerable, mended_in)


def test_a_version_that_cannot_be_read_is_unknown_and_not_called_safe() -> None:
    found = posture.judge("runc", "what?")
    assert (found.version, found.faults) == ("", ("version unknown",))
