"""Without broker, server, network and a clock: what runs, runs on, and what happened arrives later, once."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from keeper_support import Host

SHOP = {"release": "1.0", "services": ["web", "db"]}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
IN_1970 = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "@1970-01-01 00:10:00", "DONT_FAKE_MONOTONIC": "1"}


def test_a_killed_keeper_adopts_what_runs_with_broker_and_server_dead(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": SHOP})
    before = edge.keeper.pids()
    edge.broker.stop(signal.SIGKILL)

    edge.keeper.kill()
    edge.keeper.start()

    edge.server.until(lambda: edge.keeper.pids() == before)
    status = edge.keeper.ask(ask="status")
    assert not status["connected"]
    assert status["report"]["apps"][0]["why"].startswith("soak"), "its window goes on"
    assert (edge.layout.state / "started.log").read_text().count("\n") == 2


def test_sigterm_leaves_the_containers_running_and_says_that_it_goes(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": SHOP})
    before = edge.keeper.pids()

    assert edge.keeper.end() == 0

    edge.server.until(lambda: not edge.server.presence[-1].online)
    assert all((Path("/proc") / str(pid)).exists() for pid in before.values())
    assert edge.keeper.start().pids() == before


def test_after_a_reboot_without_network_and_clock_the_revisions_start_and_tls_works_when_the_network_is_back(
    edge: Host,
) -> None:
    edge.online()
    edge.apply({"shop": SHOP})
    edge.keeper.kill()
    edge.broker.stop()
    edge.reboot()

    edge.keeper.environment = IN_1970
    edge.keeper.start()

    edge.server.until(lambda: set(edge.keeper.pids()) == {"shop/web", "shop/db"})
    assert not edge.keeper.ask(ask="status")["connected"]
    reports = len(edge.server.reports)
    edge.broker.start()
    edge.server.until(lambda: len(edge.server.reports) > reports)
    assert edge.server.last is not None
    assert edge.server.last.at < 86400
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)
    assert edge.server.gaps() == []


def test_a_broker_whose_certificate_ended_before_the_clocks_floor_is_refused_also_in_1970(edge: Host) -> None:
    edge.broker.renew(not_after=datetime(2025, 1, 1, tzinfo=UTC))
    edge.broker.start()
    edge.keeper.environment = IN_1970
    edge.keeper.start()

    edge.server.until_closed(lambda: "ended on" in edge.keeper.ask(ask="status")["why_not_connected"])


def test_a_broker_of_another_authority_is_refused(edge: Host) -> None:
    own = edge.broker.ca
    edge.broker.ca = type(own)()
    edge.broker.renew()
    edge.broker.start()
    edge.keeper.start()

    edge.server.until_closed(lambda: "not accepted" in edge.keeper.ask(ask="status")["why_not_connected"])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_moments_no_event_is_lost_or_told_twice(edge: Host, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  moments, not secrets
    edge.online()
    edge.apply({"shop": SHOP})
    for _ in range(6):
        pids = _pids(edge)
        if chance.random() < 0.5 or not pids:
            edge.server.publish(edge.good({"shop": {"release": f"1.{edge.generation}", "services": ["web", "db"]}}))
        else:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
        edge.server.pump(chance.random() * 0.6)
        edge.keeper.kill()
        edge.server.pump(chance.random() * 0.2)
        edge.keeper.start()
    edge.server.reported(
        lambda r: r.generation == edge.generation and all(s.state == "running" for a in r.apps for s in a.services),
        seconds=8,
    )
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)

    assert edge.server.gaps() == []
    said = {(e["seq"], f"{e['kind']} {e['text']}") for e in edge.keeper.ask(ask="events", count=1000)["events"]}
    assert said == {(seq, text) for (_, seq), text in edge.server.stored.items()}
    started = (edge.layout.state / "started.log").read_text().splitlines()
    assert edge.server.count("container.started") <= len(started)
    accepted = [text for text in edge.server.stored.values() if text.startswith("generation.accepted")]
    assert len(accepted) == len(set(accepted))


def _another(edge: Host, pid: int) -> bool:
    return edge.keeper.pids().get("shop/web", pid) != pid


def _pids(edge: Host) -> list[int]:
    """As the stand-in recorded them; some may have ended."""
    return [json.loads(meta.read_text())["pid"] for meta in edge.layout.containers.glob("*/meta.json")]


def test_events_that_were_spooled_while_away_arrive_once(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": SHOP})
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)
    edge.broker.stop(signal.SIGKILL)
    for _ in range(3):
        before = edge.keeper.pids()
        os.kill(before["shop/web"], signal.SIGKILL)
        edge.server.until_closed(partial(_another, edge, before["shop/web"]))
        edge.keeper.kill()
        edge.keeper.start()

    edge.broker.start()

    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0, seconds=30)
    assert edge.server.gaps() == []
    assert edge.server.count("container.exited") == 3
    assert edge.server.count("container.started") == 5
    assert edge.server.count("daemon.started") == 4


def test_restarting_a_container_waits_for_no_broker_prepare_or_other_app(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": {"release": "1.0", "services": ["web"]}})
    hold = edge.layout.state / "hold"
    hold.mkdir()
    (hold / "slow.web").touch()
    edge.server.publish(
        edge.good({"shop": {"release": "1.0", "services": ["web"]}, "slow": {"release": "1.0", "services": ["web"]}})
    )
    edge.server.reported(lambda r: any(s.state == "starting" for a in r.apps for s in a.services))
    edge.server.publish(b"HANG " + edge.good({})[5:])
    edge.server.until(lambda: edge.prepare_log().count("begin") == 2)
    edge.broker.stop(signal.SIGSTOP)
    first = edge.keeper.pids()["shop/web"]

    at = time.monotonic()
    os.kill(first, signal.SIGKILL)
    edge.server.until_closed(lambda: edge.keeper.pids().get("shop/web", first) != first)

    assert time.monotonic() - at < 2.5
    (hold / "slow.web").unlink()


def test_a_database_that_cannot_be_read_is_an_alarm_and_what_runs_goes_on(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": SHOP})
    before = edge.keeper.pids()
    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)
    edge.keeper.kill()
    for companion in ("-wal", "-shm"):
        (edge.layout.state / f"keeper.db{companion}").unlink(missing_ok=True)
    edge.layout.keeper_db.write_bytes(os.urandom(8192))

    edge.keeper.start()

    edge.server.until(lambda: edge.server.count("state.lost") == 1)
    assert edge.keeper.pids() == before
    assert len({spool for spool, _ in edge.server.stored}) == 2
    assert edge.server.gaps() == []
    assert list(edge.layout.state.glob("keeper.db.unreadable-*"))
