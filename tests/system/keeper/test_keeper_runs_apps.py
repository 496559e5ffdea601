"""The keeper process against a real broker: what it runs, restarts, replaces and leaves alone."""

from __future__ import annotations

import os
import signal

from keeper_support import Host


def test_a_desired_state_is_prepared_run_and_reported(edge: Host) -> None:
    edge.online()

    report = edge.apply({"shop": {"release": "1.0", "services": ["web", "db"]}})

    assert [(a.app, a.state, a.release) for a in report.apps] == [("shop", "updating", "1.0")]
    assert report.apps[0].why == "soak 0 s of 60 s"
    assert {s.name: s.state for s in report.apps[0].services} == {"web": "running", "db": "running"}
    assert report.apps[0].services[0].limits.memory_bytes == 1 << 24
    assert report.running_generation == 1
    edge.server.until(lambda: edge.server.count("app.updated") == 1)
    assert edge.server.kinds == [
        "daemon.started", "generation.accepted", "trial.started", "container.started", "container.started",
        "app.updated",
    ]  # fmt: skip
    assert edge.server.presence[-1].online


def test_only_the_app_whose_revision_changed_is_touched(edge: Host) -> None:
    edge.online()
    shop = {"release": "1.0", "services": ["web"]}
    edge.apply({"shop": shop, "blog": {"release": "1.0", "services": ["web"]}})
    before = edge.keeper.pids()

    edge.apply({"shop": shop, "blog": {"release": "1.1", "services": ["web"]}})

    after = edge.keeper.pids()
    assert after["shop/web"] == before["shop/web"]
    assert after["blog/web"] != before["blog/web"]
    edge.server.until(lambda: edge.server.count("app.updated") == 3)


def test_a_container_that_dies_is_started_again(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": {"release": "1.0", "services": ["web"]}})
    first = edge.keeper.pids()["shop/web"]

    os.kill(first, signal.SIGKILL)

    report = edge.server.reported(lambda r: r.apps[0].services[0].restarts == 1 and r.apps[0].services[0].pid)
    assert report.apps[0].services[0].pid != first
    edge.server.until(lambda: edge.server.count("container.started") == 2)
    assert edge.server.count("container.exited") == 1


def test_an_app_that_is_not_desired_any_more_is_stopped_and_forgotten(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": {"release": "1.0", "services": ["web"]}, "blog": {"release": "1.0", "services": ["web"]}})

    edge.apply({"blog": {"release": "1.0", "services": ["web"]}})

    edge.server.until(lambda: edge.server.count("app.removed") == 1)
    assert set(edge.keeper.pids()) == {"blog/web"}


def test_no_report_says_of_a_new_generation_what_was_seen_of_the_one_before(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": {"release": "1.0", "services": ["web"]}})

    edge.apply({"shop": {"release": "1.1", "services": ["web"]}})

    said = [(r.generation, a.release) for r in edge.server.reports for a in r.apps for s in a.services]
    assert {release for generation, release in said if generation == 1} == {"1.0"}
    assert {release for generation, release in said if generation == 2} <= {None, "1.1"}
