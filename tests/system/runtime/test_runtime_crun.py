"""crun instead of runc: in a private mount namespace where the host is hybrid, for crun refuses those."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from runtime_support import PYTHON, in_private_mounts_without_v2

from edge_daemon.keeper.runtime import choose, hierarchies
from edge_daemon.keeper.runtime.errors import RuntimeFailedError

HERE = hierarchies.detect()
HYBRID = HERE._replace(version="hybrid", unified="/sys/fs/cgroup/unified")


def test_the_main_story_holds_with_crun() -> None:
    done = subprocess.run(
        [PYTHON, str(Path(__file__).with_name("crun_story.py"))],
        capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=in_private_mounts_without_v2 if HERE.version == "hybrid" else None,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


def test_on_a_hybrid_host_runc_is_taken_by_itself_and_crun_is_refused_in_words() -> None:
    assert choose.choose("auto", HYBRID) == ("runc", choose.choose("runc", HYBRID).path)
    with pytest.raises(RuntimeFailedError, match="crun does not run with hybrid cgroups") as caught:
        choose.choose("crun", HYBRID)
    assert "use --runtime runc" in caught.value.hint


def test_elsewhere_crun_is_preferred() -> None:
    assert choose.choose("auto", HERE._replace(version="v2")).kind == "crun"


def test_a_runtime_that_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeFailedError, match="the container runtime /nowhere/runc is not installed"):
        choose.choose("/nowhere/runc", HERE)
