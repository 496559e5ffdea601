"""The real supervisor and judge over any story of a host: what must never happen does not, and in the end it rests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world_support import SLOPE, WINDOW_S, SmallWorld

from edge_daemon.keeper import acts, loop

KINDS = ("good", "crash", "oom", "panic", "hang", "unready", "leak")
A_WHILE = 60.0 + 12 * WINDOW_S

releases = st.builds("{}-{}".format, st.integers(1, 3), st.sampled_from(KINDS))
steps = st.one_of(
    st.tuples(st.just("deliver"), releases, releases),
    st.tuples(st.sampled_from(["kill", "reboot", "lift"])),
    st.tuples(st.just("wait"), st.floats(0.1, 3 * WINDOW_S)),
)


@settings(max_examples=40, deadline=None)
@given(first=st.sampled_from(["0-good", "0-crash"]), story=st.lists(steps, max_size=8), stray=st.booleans())
def test_whatever_happens_no_quarantined_revision_starts_and_the_last_good_runs_in_the_end(
    first: str, story: list[tuple[str, ...]], stray: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, pytest.MonkeyPatch.context() as patch:
        for module in (loop, acts):
            patch.setattr(module, "boottime", lambda: 0.0)
        world = SmallWorld(Path(name))
        for module in (loop, acts):
            patch.setattr(module, "boottime", lambda: world.now)
        if stray:
            world.stray("shop")
        world.deliver({"shop": first, "blog": "0-good"}, memory_slope_percent_per_h=SLOPE)
        world.advance(A_WHILE)
        assert world.records.app("blog").good_release == "0-good"
        for act in story:
            if act[0] == "deliver":
                world.deliver({"shop": act[1], "blog": act[2]}, memory_slope_percent_per_h=SLOPE)
            elif act[0] == "wait":
                world.advance(float(act[1]))
            elif act[0] == "lift" and any(world.records.quarantined("shop", r) for r in world.behaviour):
                world.keeper.trials.lift("shop")
                world.keeper.replan("shop")
            elif act[0] in ("kill", "reboot"):
                world.restart() if act[0] == "kill" else world.reboot()
        world.advance(A_WHILE)
        # a wait for patience of an app that takes the host down with nothing to go back to is no rest
        bad = {app for app in ("shop", "blog") if not world.records.app(app).good_revision}
        if bad:
            return

        before = list(world.starts)
        world.advance(A_WHILE)

        assert world.starts == before, "it rests"
        assert world.index is not None
        for app, entry in world.index["apps"].items():
            good = world.records.app(app).good_release
            assert world.runs(app) == good
            kind = entry["release"].partition("-")[2]
            assert kind == "good" or good != entry["release"]
            barred = world.records.quarantined(app, entry["revision"])
            assert (barred is None) == (good == entry["release"])
            if kind == "good" and barred is not None:
                assert barred.reason == "the host went down twice while it was on trial"
