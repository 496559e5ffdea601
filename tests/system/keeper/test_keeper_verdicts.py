"""A host judges alone: leaks, readiness, what cannot be measured. Real containers, and no network but their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from trial_support import CRASHES, EATS, SLEEPS, TrialHost, trial_host

from fleet_protocol.documents.device import Reported, Verdict

LEAKS = ["/bin/sh", "-c", 'awk \'BEGIN { while (1) { x[n++] = sprintf("%60000s", ""); system("sleep 0.1") } }\'']
ASKED = {"every_s": 1, "timeout_s": 1, "start_period_s": 0, "failures": 2, "healthy_for_s": 0, "http_path": "/"}
READY_WHEN_TOLD = [
    "/bin/sh", "-c", "trap 'touch /tmp/ready' USR1; /bin/httpd -f -p 80 -h / & while :; do sleep 0.1; done"
]  # fmt: skip
HANGS = ["/bin/sh", "-c", "trap 'exit 0' TERM; /bin/httpd -f -p 80 -h / & deaf=$!; sleep 0.2; kill -STOP $deaf; wait"]


@pytest.fixture
def host() -> Iterator[TrialHost]:
    with trial_host() as made:
        yield made


def verdict(app: dict[str, Any]) -> Verdict:
    return Verdict.from_value(app["verdict"])


def back(host: TrialHost, name: str, seconds: float = 20.0) -> dict[str, Any]:
    """Wait until the last good runs again."""
    return host.until(
        name,
        lambda a: a["state"] == "failed" and a.get("release") == "1.0.0" and "pid" in a["services"][0],
        seconds=seconds,
    )


def command(host: TrialHost, *words: str) -> str:
    """What `edge-daemon` prints."""
    run = [sys.executable, "-m", "edge_daemon.main", *words, "--run-dir", str(host.layout.run)]
    return subprocess.run(run, capture_output=True, text=True, check=True, timeout=30).stdout


def test_a_release_that_leaks_is_back_on_its_last_good_within_its_window(host: TrialHost) -> None:
    good = host.revision("shop", "1.0.0", SLEEPS, window_s=2, memory_slope_percent_per_h=1000)
    host.deliver(shop=good)
    host.good("shop", "1.0.0")

    host.deliver(shop=host.revision("shop", "1.0.1", LEAKS, window_s=5, memory_slope_percent_per_h=1000))

    host.until("shop", lambda a: a.get("release") == "1.0.1" and a["verdict"]["state"] == "trial")
    began = time.monotonic()
    app = back(host, "shop")
    assert time.monotonic() - began < 5 + 5
    told = verdict(app)
    assert (told.state, told.code, told.oom_kills, told.restarts) == ("bad", "leak", 0, 0)
    assert told.reason.startswith("web takes more and more memory: ")
    assert told.now is not None
    assert told.now.memory_slope_percent_per_h is not None
    assert told.now.memory_slope_percent_per_h > 1000
    assert told.before is not None
    assert told.before.memory_percent is not None
    assert told.before.memory_percent < 5


def test_the_verdict_on_a_good_release_has_counts_figures_and_those_of_the_one_before(host: TrialHost) -> None:
    steady = host.revision("shop", "1.0.0", SLEEPS, window_s=1, memory_slope_percent_per_h=10)
    host.deliver(shop=steady)
    host.good("shop", "1.0.0")
    assert verdict(host.app("shop")).state == "good"

    host.deliver(shop=host.revision("shop", "1.0.1", [*SLEEPS[:1], "1001"], window_s=1, memory_slope_percent_per_h=10))
    host.good("shop", "1.0.1")

    told = verdict(host.app("shop"))
    assert (told.state, told.restarts, told.exits, told.failed_probes, told.window_s) == ("good", 0, 0, 0, 1)
    assert told.before is not None
    assert Reported.from_value(host.keeper.ask(ask="status")["report"]).apps[0].verdict == told
    shown = command(host, "status")
    assert "good, memory " in shown
    assert json.loads(command(host, "status", "-o", "json"))["reported"]["apps"][0]["verdict"]["state"] == "good"


def test_what_is_not_ready_runs_on_is_shown_and_goes_back_only_long_after_its_window(host: TrialHost) -> None:
    probes = {
        "probe": {**ASKED, "http_port": 80, "http_path": "/index.html"},
        "readiness": {**ASKED, "exec_args": ["/bin/sh", "-c", "test -e /tmp/ready"], "failures": 1},
    }
    host.deliver(shop=host.revision("shop", "1.0.0", READY_WHEN_TOLD, window_s=1, asked=probes))
    app = host.until("shop", lambda a: a.get("services") and a["services"][0].get("ready") is False)
    before = host.identity("shop")

    assert app["services"][0]["state"] == "running"
    assert app["state"] == "updating"
    host.until("shop", lambda a: "web is not ready: its command ended with exit code 1" in a["why"])
    assert "not ready" in command(host, "ps")
    time.sleep(2.5)
    assert verdict(host.app("shop")).state == "trial"
    assert host.identity("shop") == before, "it is never started again for that"

    host.world.runtime.signal("shop", "web", "SIGUSR1")

    ready = host.good("shop", "1.0.0")
    assert ready["services"][0]["ready"] is True
    assert [event.partition(" (")[0] for event in host.events("probe.unready", "probe.ready")] == [
        "probe.unready shop/web is not ready: its command ended with exit code 1",
        "probe.ready shop/web is ready again",
    ]
    assert host.identity("shop") == before
    assert host.events("probe.failed") == []


STORIES = {
    "crash": (CRASHES, {}, {}, [
        "crash/web ended with exit code 7 after ",
        "crash 1.0.1 is not started on this host any more: web ended by itself; 1.0.0 takes its place",
        "crash runs its last good 1.0.0 again: 1.0.1 went back to 1.0.0: web ended by itself",
    ]),
    "hang": (HANGS, {"probe": {**ASKED, "http_port": 80}}, {}, [
        "hang 1.0.1 is not started on this host any more: web was not healthy: http :80/ did not answer within 1 s (2",
        "hang runs its last good 1.0.0 again: 1.0.1 went back to 1.0.0: web was not healthy: http :80/ did not answer ",
    ]),
    "leak": (LEAKS, {}, {"memory_slope_percent_per_h": 1000}, [
        "leak 1.0.1 is not started on this host any more: web takes more and more memory: ",
        "leak runs its last good 1.0.0 again: 1.0.1 went back to 1.0.0: web takes more and more memory: ",
    ]),
    "oom": (EATS, {}, {}, [
        "oom/web was killed by the kernel: out of its memory limit after ",
        "oom 1.0.1 is not started on this host any more: web was killed for memory; 1.0.0 takes its place",
        "oom runs its last good 1.0.0 again: 1.0.1 went back to 1.0.0: web was killed for memory",
    ]),
}  # fmt: skip


def test_the_events_tell_the_story_of_a_crash_a_hang_a_leak_and_a_lack_of_memory(host: TrialHost) -> None:
    numbers = {name: n for n, name in enumerate(STORIES, 3)}
    host.deliver(**{name: host.revision(name, "1.0.0", SLEEPS, number=n) for name, n in numbers.items()})
    for name in STORIES:
        host.good(name, "1.0.0")

    host.deliver(
        **{
            name: host.revision(
                name,
                "1.0.1",
                args,
                window_s=5,
                number=numbers[name],
                asked=dict[str, Any](asked),
                **dict[str, Any](more),
            )
            for name, (args, asked, more, _) in STORIES.items()
        }
    )
    for name in STORIES:
        back(host, name, seconds=40)
        host.until(name, lambda _, name=name: [e for e in host.events("app.returned") if f" {name} " in e])  # type: ignore[misc]

    lines = command(host, "events", "-n", "500").splitlines()
    for name, (_, _, _, story) in STORIES.items():
        own = [line for line in lines if f" {name}/web " in line or f" {name} " in line]
        begun = next(n for n, line in enumerate(own) if f"{name} 1.0.1 is on trial for 5 s" in line)
        told = own[begun:]
        places = [next((n for n, line in enumerate(told) if words in line), -1) for words in story]
        assert -1 not in places, (story[places.index(-1)], told)
        assert places == sorted(places), told
