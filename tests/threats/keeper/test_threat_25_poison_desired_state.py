"""Row 25: a document that fails in every step of its application takes neither the keeper nor what runs with it."""

from __future__ import annotations

import json

import pytest
from keeper_support import Host

SHOP = {"release": "1.0", "services": ["web"], "health_window_s": 0}


@pytest.fixture
def running(edge: Host) -> Host:
    edge.online()
    edge.apply({"shop": dict(SHOP)})
    edge.server.until(lambda: edge.server.count("app.good") == 1)
    return edge


def test_threat_25_poison_desired_state_that_kills_prepare_is_put_aside_after_three_tries(running: Host) -> None:
    before = running.keeper.pids()
    running.server.publish(running.good({}, word="CRASH"))

    running.server.until(lambda: running.server.count("desired.quarantined") == 1, seconds=40)

    assert running.prepare_log().count("begin") == 4
    assert running.keeper.pids() == before


@pytest.mark.parametrize(
    "spoil", [b"", b"{", b'{"schema": "roadstead/revision/v1"}'], ids=["empty", "no JSON", "without its fields"]
)
def test_threat_25_poison_desired_state_whose_revision_cannot_be_read_leaves_the_last_good_running(
    running: Host, spoil: bytes
) -> None:
    before = running.keeper.pids()
    running.server.publish(running.good({"shop": SHOP | {"release": "2.0"}}, word="SLOW"))
    known = set((running.layout.revisions / "shop").iterdir())
    running.server.until(lambda: running.prepare_log().count("begin") == 2)
    # spoiled between sealing and the keeper's reading
    running.keeper.kill()
    running.server.until(lambda: running.prepare_log().count("end") == 2)
    (new,) = set((running.layout.revisions / "shop").iterdir()) - known
    (new / "revision.json").write_bytes(spoil)

    running.keeper.start()

    report = running.server.reported(lambda r: r.generation == 2)
    assert (report.apps[0].state, report.apps[0].release, report.apps[0].desired_release) == ("degraded", "1.0", "2.0")
    assert "is not what was sealed" in report.apps[0].why
    assert running.keeper.pids() == before


def test_threat_25_poison_desired_state_with_an_index_of_nonsense_is_refused(running: Host) -> None:
    before = running.keeper.pids()
    running.keeper.kill()
    folder = running.layout.generations / "7"
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps({"schema": "roadstead/generation/v1", "generation": 7}))

    running.keeper.start()

    running.server.until(lambda: running.server.count("state.unreadable") == 1)
    assert running.keeper.pids() == before


def test_threat_25_poison_desired_state_whose_containers_never_start_harms_no_other_app(running: Host) -> None:
    before = running.keeper.pids()
    running.command("bad", "web", "/bin/false")
    running.server.publish(running.good({"shop": dict(SHOP), "bad": {"release": "1.0", "services": [{"name": "web"}]}}))

    report = running.server.reported(
        lambda r: any(a.app == "bad" and a.services and a.services[0].restarts >= 3 for a in r.apps), seconds=30
    )

    assert {a.app: a.state for a in report.apps}["bad"] != "ok"
    assert running.keeper.pids()["shop/web"] == before["shop/web"]
    assert running.server.count("app.good") == 1, "what crashes does not become the last good"
