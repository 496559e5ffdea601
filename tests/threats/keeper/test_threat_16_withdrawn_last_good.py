"""Row 16: a release is withdrawn with `effect: stop` while another is desired; what runs of it is stopped all the same.

Real keeper, prepare, containers and signatures; the server may at most ask the host to look.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from real_edge_support import Edge, edge_host

from fleet_protocol.documents.device import Reported
from fleet_protocol.documents.release import Withdrawal
from fleet_protocol.wire.topics import Channel
from fleet_release.trust.release_role import withdraw

WINDOW = {"window_s": 5}


@pytest.fixture
def edge() -> Iterator[Edge]:
    with edge_host() as made:
        yield made


def taken_back(edge: Edge, app: str, version: str) -> None:
    """Sign the withdrawal, and let the server ask for a look."""
    world, now = edge.site.world, datetime.now(UTC).replace(microsecond=0)
    gone = Withdrawal(version=version, effect="stop", reason="leaks frames")
    world.published(withdraw(world.opened(app), gone, [world.trust.release_signer(app)], now))
    edge.server.publish(b'{"request": "check"}', channel=Channel.REQUESTS)


def is_so(edge: Edge, name: str, **wanted: Any) -> Reported:
    return edge.server.reported(
        lambda r: any(a.app == name and all(getattr(a, key) == value for key, value in wanted.items()) for a in r.apps),
        seconds=60,
    )


def test_threat_16_withdrawn_last_good_is_stopped_and_is_not_returned_to(edge: Edge) -> None:
    edge.online()
    blog, good = edge.app("blog"), edge.app("cam", version="1.0.0", health=WINDOW)
    edge.apply(good, blog)
    is_so(edge, "cam", state="ok", release="1.0.0")
    before = edge.keeper.pids()

    # 1.1.0 fails its trial; the last good 1.0.0 runs in its place
    edge.apply(edge.app("cam", "sleep 1; exit 3", version="1.1.0", health=WINDOW), blog)
    is_so(edge, "cam", state="failed", release="1.0.0")
    taken_back(edge, "cam", "1.0.0")
    is_so(edge, "cam", state="stopped", desired_release="1.1.0")
    edge.server.until(lambda: edge.keeper.pids() == {"blog/web": before["blog/web"]}, seconds=20)
    edge.server.until(lambda: edge.server.count("app.withdrawn") == 1)

    # neither the daemon's restart nor a reboot starts it again, also without any server
    edge.broker.stop()
    edge.keeper.kill()
    edge.reboot()
    edge.keeper.start()
    edge.server.until_closed(lambda: set(edge.keeper.pids()) == {"blog/web"})
    (cam,) = [a for a in edge.keeper.ask(ask="status")["report"]["apps"] if a["app"] == "cam"]
    assert cam["state"] == "stopped"
    assert cam["why"].endswith("1.0.0 was withdrawn by its signers: leaks frames")


def test_threat_16_withdrawal_holds_while_a_server_withholds_what_its_signers_say(edge: Edge) -> None:
    edge.online()
    edge.apply(edge.app("cam"))
    edge.runs("cam")
    taken_back(edge, "cam", "1.0.0")
    is_so(edge, "cam", state="stopped")

    # the app's role has another version, which the server never hands over
    world, now = edge.site.world, datetime.now(UTC).replace(microsecond=0)
    other = Withdrawal(version="0.9.0", effect="refuse", reason="")
    world.published(withdraw(world.opened("cam"), other, [world.trust.release_signer("cam")], now))
    edge.site.server.faults["release%2Fcam"] = lambda handler, _: handler.answer({}, 404)
    edge.site.server.faults["release/cam"] = lambda handler, _: handler.answer({}, 404)
    asked = len(edge.site.server.fetched("release"))
    edge.keeper.kill()  # the limit of one look a minute counts from its start
    edge.keeper.start()
    edge.server.until(lambda: edge.keeper.ask(ask="status")["connected"])
    edge.server.publish(b'{"request": "check"}', channel=Channel.REQUESTS)
    edge.server.until(lambda: len(edge.site.server.fetched("release")) > asked, seconds=30)
    edge.server.pump(5)
    assert edge.keeper.pids() == {}
    is_so(edge, "cam", state="stopped")
