"""A bad release is back on its last good within its window, and another app does not notice. Real containers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from trial_support import CRASHES, EATS, ENDS_SOON, SLEEPS, TrialHost, trial_host


@pytest.fixture
def host() -> Iterator[TrialHost]:
    with trial_host() as made:
        yield made


BAD = [
    pytest.param(CRASHES, "web ended by itself", "container.exited", id="crashes at its start"),
    pytest.param(EATS, "web was killed for memory", "container.oom", id="takes more memory than it may"),
    pytest.param(ENDS_SOON, "web ended by itself", "container.exited", id="ends after three seconds"),
]


@pytest.mark.parametrize(("args", "reason", "cause"), BAD)
def test_a_bad_release_goes_back_alone_and_the_events_tell_why(
    host: TrialHost, args: list[str], reason: str, cause: str
) -> None:
    shop, blog = host.revision("shop", "1.0.0", SLEEPS), host.revision("blog", "2.0.0", SLEEPS, number=4)
    host.deliver(shop=shop, blog=blog)
    host.good("shop", "1.0.0")
    host.good("blog", "2.0.0")
    neighbour = host.identity("blog")

    host.deliver(shop=host.revision("shop", "1.0.1", args, window_s=5), blog=blog)

    app = host.until("shop", lambda a: a["state"] == "failed" and runs(a, "1.0.0"))
    assert app["why"] == f"1.0.1 went back to 1.0.0: {reason}"
    assert app["desired_release"] == "1.0.1"
    assert app["revision"] == shop["revision"]
    assert app["verdict"]["state"] == "bad"
    assert app["verdict"]["reason"] == reason
    assert app["verdict"]["window_s"] == 5
    host.until("shop", lambda _: host.events("app.returned"))
    story = [e for e in host.events() if e.split()[0] in STORY | {cause} and "blog" not in e]
    assert [e.split()[0] for e in story] == [
        "trial.started", "app.good", "trial.started", cause, "app.quarantined", "app.returned",
    ]  # fmt: skip
    assert story[4] == (
        f"app.quarantined shop 1.0.1 is not started on this host any more: {reason}; 1.0.0 takes its place"
    )
    assert story[5] == f"app.returned shop runs its last good 1.0.0 again: 1.0.1 went back to 1.0.0: {reason}"
    assert host.identity("blog") == neighbour


STORY = {"trial.started", "app.good", "app.failed", "app.quarantined", "app.returned"}


def runs(app: dict[str, Any], release: str) -> bool:
    return app.get("release") == release and "pid" in app["services"][0]


def test_a_quarantined_revision_starts_neither_after_a_kill_nor_after_a_reboot_until_it_is_lifted(
    host: TrialHost,
) -> None:
    host.deliver(shop=host.revision("shop", "1.0.0", SLEEPS, window_s=1))
    host.good("shop", "1.0.0")
    host.deliver(shop=host.revision("shop", "1.0.1", CRASHES))
    host.until("shop", lambda _: host.events("app.returned"))
    bad = [e for e in host.started("shop") if "1.0.1" in e]

    host.keeper.kill()
    host.keeper.start()
    after_kill = host.until("shop", lambda a: a.get("release") == "1.0.0" and a["state"] == "failed")
    host.reboot()
    after_boot = host.until("shop", lambda a: runs(a, "1.0.0"))

    assert after_kill["why"] == after_boot["why"] == "1.0.1 went back to 1.0.0: web ended by itself"
    assert [e for e in host.started("shop") if "1.0.1" in e] == bad
    assert len(host.events("app.quarantined")) == 1

    host.keeper.ask(ask="lift", app="shop")
    host.until("shop", lambda _: len(host.events("app.quarantined")) == 2)


def test_a_candidate_gets_one_more_try_after_a_reboot_and_none_after_the_second(host: TrialHost) -> None:
    host.deliver(shop=host.revision("shop", "1.0.0", SLEEPS, window_s=1))
    host.good("shop", "1.0.0")
    host.deliver(shop=host.revision("shop", "1.0.1", [*SLEEPS[:1], "1001"], window_s=300))
    host.until("shop", lambda a: runs(a, "1.0.1") and a["state"] == "updating")

    for _ in range(2):
        host.keeper.kill()
        host.keeper.start()
    host.until("shop", lambda a: runs(a, "1.0.1"))
    assert len(host.events("trial.started")) == 2, "a killed daemon is no try"
    host.reboot()
    host.until("shop", lambda a: runs(a, "1.0.1"))
    assert host.events("trial.started")[-1].endswith("shop 1.0.1 is on trial for 300 s, try 2")
    host.reboot()

    app = host.until("shop", lambda a: runs(a, "1.0.0"))
    assert app["why"] == "1.0.1 went back to 1.0.0: the host went down twice while it was on trial"
