"""The probe's command with crun, as a program of its own: run by test_runtime_probe in a private mount namespace."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import test_runtime_probe  # noqa: E402 - found by the line above
from runtime_support import world  # noqa: E402

with world("crun") as host:
    assert host.runtime.chosen.kind == "crun"
    for story in test_runtime_probe.STORIES:
        story(host)
        host.runtime.remove("shop", "web")
sys.stdout.write("told\n")
