"""What an operator may do on the host itself, and an app that has nothing to go back to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from keeper_support import Host

from edge_daemon.keeper.errors import ActError
from edge_daemon.keeper.local_client import ask
from edge_daemon.main import main


def shop(release: str, window_s: int = 1) -> dict[str, Any]:
    return {"shop": {"release": release, "services": ["web"], "health_window_s": window_s}}


def report(edge: Host) -> dict[str, Any]:
    apps = edge.keeper.ask(ask="status")["report"]["apps"]
    return next(iter(apps), {})


def runs(edge: Host, release: str, state: str) -> bool:
    app = report(edge)
    return (app.get("release"), app.get("state")) == (release, state) and "pid" in app["services"][0]


def kinds(edge: Host) -> list[str]:
    return [event["kind"] for event in edge.keeper.ask(ask="events", count=1000)["events"]]


def command(edge: Host, *words: str) -> int:
    return main([words[0], "--run-dir", str(edge.layout.run), *words[1:]])


def test_rollback_goes_to_the_last_good_and_lift_gives_the_revision_a_new_trial(
    edge: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    edge.server.until(lambda: runs(edge, "1.0", "ok"))
    edge.apply(shop("1.1", 60))

    assert command(edge, "rollback", "shop", "-o", "json") == 0

    assert json.loads(capsys.readouterr().out) == {"app": "shop", "done": "shop goes back from 1.1 to 1.0"}
    edge.server.until(lambda: runs(edge, "1.0", "degraded"))
    assert report(edge)["why"] == "1.1 went back to 1.0: an operator on this host went back"
    assert command(edge, "rollback", "shop") == 5
    assert "1.0 is its last good, and nothing earlier is kept on this host" in capsys.readouterr().err

    assert command(edge, "lift", "shop") == 0
    edge.server.until(lambda: runs(edge, "1.1", "updating"))
    assert command(edge, "lift", "shop") == 5
    assert command(edge, "hold", "shop", "--for", "1d") == 0
    edge.server.until(lambda: runs(edge, "1.1", "held"))  # looked at since: a refused act has left the trial as it was
    assert kinds(edge).count("trial.started") == 3  # of 1.0, of 1.1, and of 1.1 again


def test_a_held_app_keeps_its_revision_over_a_kill_until_the_hold_is_over(
    edge: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    edge.server.until(lambda: runs(edge, "1.0", "ok"))
    before = edge.keeper.pids()

    assert command(edge, "hold", "shop", "--for", "4s") == 0
    assert capsys.readouterr().out.startswith("shop is held at 1.0 until 20")
    edge.server.publish(edge.good(shop("1.1")))
    edge.server.reported(lambda r: r.generation == 2)
    edge.keeper.kill()
    edge.keeper.start()

    edge.server.until(lambda: runs(edge, "1.0", "held"))
    held = report(edge)
    assert held["why"].startswith("held at 1.0 until 20")
    assert held["desired_release"] == "1.1"
    assert edge.keeper.pids() == before
    with pytest.raises(ActError, match="it is held"):
        ask(edge.layout.run, {"ask": "rollback", "app": "shop"})
    edge.server.until(lambda: runs(edge, "1.1", "ok"), seconds=30)
    assert [k for k in kinds(edge) if k in ("app.held", "app.released")] == ["app.held", "app.released"]


def test_a_hold_ends_when_the_operator_says_so(edge: Host, capsys: pytest.CaptureFixture[str]) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    edge.server.until(lambda: runs(edge, "1.0", "ok"))
    assert command(edge, "hold", "shop", "--for", "1d") == 0
    edge.server.until(lambda: runs(edge, "1.0", "held"))

    assert command(edge, "hold", "shop", "--for", "off") == 0

    edge.server.until(lambda: runs(edge, "1.0", "ok"))
    assert command(edge, "hold", "shop", "--for", "off") == 5
    assert command(edge, "hold", "shop", "--for", "soon") == 2
    assert command(edge, "hold", "nobody", "--for", "1d") == 1
    assert "no such app is on this host" in capsys.readouterr().err


def test_a_first_release_that_fails_is_tried_on_and_said_once_and_becomes_good_when_it_is_mended(edge: Host) -> None:
    edge.command("shop", "web", "sh", "-c", "sleep 0.3; exit 3")
    edge.online()
    edge.server.publish(edge.good(shop("1.0")))

    edge.server.until(lambda: report(edge).get("state") == "failed")
    assert report(edge)["why"] == "web ended by itself; nothing to go back to"
    edge.server.until(lambda: report(edge)["services"][0]["restarts"] >= 2)
    edge.command("shop", "web", "sleep", "1000")

    edge.server.until(lambda: runs(edge, "1.0", "ok"), seconds=30)
    told = kinds(edge)
    assert told.count("app.failed") == 1
    assert told.count("trial.started") == 1
    assert told[-1] == "app.good"


def test_generation_after_generation_inside_the_window_is_judged_by_the_newest_alone(edge: Host) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    edge.server.until(lambda: runs(edge, "1.0", "ok"))

    edge.apply(shop("1.1", 60))
    edge.apply(shop("1.2", 1))

    edge.server.until(lambda: runs(edge, "1.2", "ok"))
    assert "app.quarantined" not in kinds(edge)


def test_apps_of_one_group_become_good_together_and_go_back_together_and_others_do_not_notice(edge: Host) -> None:
    def apps(release: str, window_s: int) -> dict[str, Any]:
        one = {"release": release, "services": ["web"], "health_window_s": window_s}
        return {
            "shop": dict(one, group=["till"]), "till": dict(one, health_window_s=1),
            "blog": {"release": "2.0", "services": ["web"], "health_window_s": 1},
        }  # fmt: skip

    edge.online()
    edge.apply(apps("1.0", 2))
    edge.server.until(lambda: kinds(edge).count("app.good") == 3)
    told = [e["app"] for e in edge.keeper.ask(ask="events", count=100)["events"] if e["kind"] == "app.good"]
    assert told[0] == "blog", "till waits for shop's window"
    assert set(told[1:]) == {"shop", "till"}
    before = edge.keeper.pids()["blog/web"]
    edge.command("shop", "web", "sh", "-c", "sleep 2; exit 4")

    edge.server.publish(edge.good(apps("1.1", 30)))

    edge.server.until(lambda: kinds(edge).count("app.quarantined") == 2)
    edge.command("shop", "web", "sleep", "1000")
    edge.server.until(lambda: kinds(edge).count("app.returned") == 2)
    reported = {a["app"]: a for a in edge.keeper.ask(ask="status")["report"]["apps"]}
    assert {name: (a["release"], a["state"]) for name, a in reported.items()} == {
        "shop": ("1.0", "failed"), "till": ("1.0", "failed"), "blog": ("2.0", "ok"),
    }  # fmt: skip
    assert reported["till"]["why"] == ("1.1 went back to 1.0: it moves together with shop 1.1: web ended by itself")
    assert edge.keeper.pids()["blog/web"] == before
