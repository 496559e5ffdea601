"""The real keeper, prepare, runtime, broker and kernel; only the server is simulated, with real signatures."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prepare_support import MIB
from real_edge_support import Edge, edge_host


@pytest.fixture
def edge() -> Iterator[Edge]:
    with edge_host() as made:
        yield made


def test_a_signed_release_runs_under_limits_and_survives_the_keeper_the_broker_and_a_reboot(edge: Edge) -> None:
    edge.online()
    cam, blog = edge.app("cam"), edge.app("blog")
    edge.apply(cam, blog)
    before = edge.runs("cam", "blog")
    report = edge.server.last
    assert report is not None
    limits = report.apps[0].services[0].limits
    assert (limits.memory_bytes, limits.swap_bytes, limits.cpu_millis, limits.pids) == (32 * MIB, 0, 500, 16)
    assert str(report.host["runtime_version"]).startswith(str(report.host["runtime"]))

    # another release of one app leaves the other alone
    edge.apply(cam, edge.app("blog", "sleep 1001", "1.1.0"))
    after = edge.runs("cam", "blog")
    assert after["cam/web"] == before["cam/web"]
    assert after["blog/web"] != before["blog/web"]

    # broker dead, keeper killed: adopted
    edge.broker.stop(signal.SIGKILL)
    edge.keeper.kill()
    edge.keeper.start()
    edge.server.until_closed(lambda: edge.keeper.pids() == after)

    # a crash is seen, told with its code, and mended off-line
    os.kill(after["cam/web"], signal.SIGKILL)
    edge.server.until_closed(lambda: edge.keeper.pids().get("cam/web", after["cam/web"]) != after["cam/web"])

    # a reboot without any network
    edge.keeper.kill()
    edge.reboot()
    edge.keeper.start()
    edge.server.until_closed(lambda: set(edge.keeper.pids()) == {"cam/web", "blog/web"})

    edge.broker.start()
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0, seconds=30)
    assert edge.server.gaps() == []
    (crash,) = [text for text in edge.server.stored.values() if text.startswith("container.exited")]
    assert "cam/web was ended by signal 9" in crash
    assert (edge.site.layout.logs / "cam" / "web").is_dir()


def test_a_forged_document_and_one_for_another_device_are_refused_and_what_runs_goes_on(edge: Edge) -> None:
    edge.online()
    cam = edge.app("cam")
    edge.apply(cam)
    before = edge.runs("cam")
    genuine = edge.site.document(cam).read_bytes()

    edge.server.publish(genuine.replace(b'"payload":"', b'"payload":"AAAA'))
    report = edge.server.reported(lambda r: r.refusal, seconds=30)
    assert report.refusal is not None
    assert "no trusted key signed it" in report.refusal.sentence
    edge.server.publish(edge.site.document(cam, device_id="another").read_bytes())
    edge.server.reported(lambda r: r.refusal and "another" in r.refusal.sentence, seconds=30)

    assert edge.keeper.pids() == before
    assert not list(Path(edge.site.layout.generations).glob("2"))
