"""Row 57: the daemon is killed, again and again, in the middle of whatever it does."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress

from keeper_support import Host

APPS = {"shop": ["web", "db"], "blog": ["web"]}
ROUNDS = 25


def test_threat_57_daemon_killed_at_random_moments_of_an_idle_host_touches_no_container(edge: Host) -> None:
    edge.online()
    edge.apply({app: {"release": "1.0", "services": list(names)} for app, names in APPS.items()})
    before = edge.keeper.pids()
    chance = random.Random(57)  # noqa: S311  moments, not secrets

    for _ in range(ROUNDS):
        edge.keeper.kill()
        edge.keeper.start()
        edge.server.pump(chance.random() * 0.3)

    edge.server.until(lambda: edge.keeper.ask(ask="status")["pending_events"] == 0)
    assert edge.keeper.pids() == before
    assert edge.server.count("container.started") == 3
    assert edge.server.count("container.exited") == 0
    assert edge.server.gaps() == []


def test_threat_57_daemon_killed_while_containers_end_learns_every_exit_code(edge: Host) -> None:
    edge.command("shop", "web", "sh", "-c", "sleep 0.2; exit 7")
    edge.online()
    edge.server.publish(edge.good({"shop": {"release": "1.0", "services": ["web"]}}))
    chance = random.Random(75)  # noqa: S311  moments, not secrets
    for _ in range(8):
        edge.server.pump(chance.random() * 0.7)
        edge.keeper.kill()
        edge.keeper.start()
    edge.server.until(lambda: edge.server.count("container.exited") >= 4, seconds=40)

    exits = [text for text in edge.server.stored.values() if text.startswith("container.exited")]
    assert all("ended with exit code 7" in text for text in exits), exits
    started = (edge.layout.state / "started.log").read_text().splitlines()
    assert len(exits) <= len(started)
    assert edge.server.gaps() == []


def test_threat_57_daemon_killed_while_an_app_is_replaced_never_runs_two_of_one_service(edge: Host) -> None:
    edge.online()
    edge.apply({"shop": {"release": "1.0", "services": ["web", "db"]}})
    chance = random.Random(7)  # noqa: S311  moments, not secrets
    for n in range(5):
        edge.server.publish(edge.good({"shop": {"release": f"2.{n}", "services": ["web", "db"]}}))
        edge.server.pump(0.3 + chance.random() * 0.8)
        with suppress(ProcessLookupError):
            os.kill(edge.keeper.pid, signal.SIGKILL)
        edge.keeper.end(signal.SIGKILL)
        edge.keeper.start()

    edge.server.reported(
        lambda r: r.generation == edge.generation and all(s.state == "running" for a in r.apps for s in a.services),
        seconds=20,
    )
    lines = (edge.layout.state / "started.log").read_text().splitlines()
    alive = [line for line in lines if _alive(int(line.split()[2]))]
    assert sorted(line.split()[0] for line in alive) == ["shop.db", "shop.web"]


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
