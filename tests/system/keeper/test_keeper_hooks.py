"""What an app has run around its starts and stops, in real containers under the real keeper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_support import wait_for
from trial_support import SLEEPS, TrialHost, trial_host

from edge_daemon.keeper.local_client import ask
from edge_daemon.sealed import HookValues

VETO = "test ! -e /data/recording || { echo recording; echo more; exit 75; }"
TELLS = ["/bin/sh", "-c", "trap 'echo term >> /data/told; exit 0' TERM; while :; do sleep 0.1; done"]


def hook(script: str, timeout_s: int = 5) -> HookValues:
    return {"exec_args": ["/bin/sh", "-c", script], "timeout_s": timeout_s}


@pytest.fixture
def edge() -> Iterator[TrialHost]:
    with trial_host() as made:
        yield made


def data(edge: TrialHost) -> Path:
    return edge.layout.volumes / "shop" / "data"


def test_an_app_that_says_not_now_is_not_stopped_and_its_no_lives_over_a_kill(edge: TrialHost) -> None:
    veto: HookValues = {**hook(VETO), "expires_s": 3600}
    edge.deliver(shop=edge.revision("shop", "1.0", SLEEPS, hooks={"veto": veto}))
    edge.good("shop", "1.0")
    (data(edge) / "recording").touch()
    before = edge.identity("shop")

    edge.deliver(shop=edge.revision("shop", "1.1", SLEEPS))

    held = edge.until("shop", lambda app: app.get("state") == "held")
    assert held["why"].startswith('app veto: "recording", since ')
    assert (held["release"], held["desired_release"], held["verdict"]["state"]) == ("1.0", "1.1", "held")
    edge.keeper.kill()
    edge.keeper.start()
    again = edge.until("shop", lambda app: app.get("state") == "held")
    assert again["why"] == held["why"], "its time goes on"
    assert edge.identity("shop") == before
    assert len(edge.events("app.vetoed")) == 1

    done = ask(edge.layout.run, {"ask": "hold", "app": "shop", "seconds": 0})["done"]

    assert done == "shop is updated although it said 'recording': an operator on this host overruled it"
    edge.good("shop", "1.1")


def test_an_app_that_agrees_or_cannot_answer_is_updated(edge: TrialHost) -> None:
    edge.deliver(shop=edge.revision("shop", "1.0", SLEEPS, hooks={"veto": hook(VETO)}))
    edge.good("shop", "1.0")

    edge.deliver(shop=edge.revision("shop", "1.1", SLEEPS, hooks={"veto": hook("sleep 30", 1)}))
    edge.good("shop", "1.1")
    assert not edge.events("hook.failed", "app.vetoed")

    edge.deliver(shop=edge.revision("shop", "1.2", SLEEPS))
    edge.good("shop", "1.2")
    assert edge.events("hook.failed") == ["hook.failed shop/web: its hook veto did not end within 1 s; that is no veto"]


def test_a_return_to_the_last_good_asks_nobody(edge: TrialHost) -> None:
    edge.deliver(shop=edge.revision("shop", "1.0", SLEEPS))
    edge.good("shop", "1.0")

    ends = ["/bin/sh", "-c", "sleep 2; exit 3"]
    edge.deliver(shop=edge.revision("shop", "1.1", ends, window_s=20, hooks={"veto": hook("echo no; exit 75")}))

    edge.until("shop", lambda app: app.get("state") == "failed" and "pid" in app["services"][0])
    wait_for(lambda: len(edge.started("shop")) == 3, 10, "the last good to run again")
    assert not edge.events("app.vetoed", "hook.failed")


def test_pre_stop_runs_within_the_grace_and_before_the_signal_and_one_that_hangs_is_ended(edge: TrialHost) -> None:
    first = edge.revision("shop", "1.0", TELLS, grace_s=8, hooks={"pre_stop": hook("echo pre >> /data/told")})
    edge.deliver(shop=first)
    edge.good("shop", "1.0")
    hangs = edge.revision("shop", "1.1", TELLS, grace_s=8, hooks={"pre_stop": hook("sleep 60", 1)})

    edge.deliver(shop=hangs)
    edge.good("shop", "1.1")
    assert (data(edge) / "told").read_text() == "pre\nterm\n"

    edge.deliver(shop=edge.revision("shop", "1.2", SLEEPS))
    edge.good("shop", "1.2")
    assert (data(edge) / "told").read_text() == "pre\nterm\nterm\n"
    (failed,) = edge.events("hook.failed")
    assert failed == "hook.failed shop/web: its hook preStop did not end within 1 s; it is stopped all the same"


def test_post_start_is_a_part_of_the_start_and_one_that_fails_takes_the_release_back(edge: TrialHost) -> None:
    good = edge.revision("shop", "1.0", SLEEPS, hooks={"post_start": hook("echo up >> /data/told")})
    edge.deliver(shop=good)
    edge.good("shop", "1.0")
    assert (data(edge) / "told").read_text() == "up\n"

    bad = edge.revision("shop", "1.1", SLEEPS, window_s=60, hooks={"post_start": hook("echo no licence; exit 3")})
    edge.deliver(shop=bad)

    back = edge.until("shop", lambda app: app.get("state") == "failed" and app.get("release") == "1.0")
    assert "ended with exit code 3: no licence" in back["why"]
    wait_for(lambda: len(edge.started("shop")) == 2, 10, "the last good to start again")
    assert all("1.0" in event for event in edge.started("shop"))
