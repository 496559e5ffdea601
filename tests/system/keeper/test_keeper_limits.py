"""A change of limits alone reaches a running container: same process, one event in words, no restart."""

from __future__ import annotations

import json
from typing import Any

from keeper_support import Host

from fleet_protocol.documents.device import KernelLimits

LIMITS = {"memory_bytes": 1 << 24, "cpu_millis": 100, "cpu_weight": 100, "pids": 16, "nofile": 64}


def shop(release: str, **limits: int) -> dict[str, Any]:
    services = [
        {"name": name, "runtime_sha256": "a" * 64, "limits": LIMITS | (limits if name == "web" else {})}
        for name in ("web", "db")
    ]
    return {"shop": {"release": release, "services": services}}


def texts(edge: Host, kind: str) -> list[str]:
    return sorted(t.removeprefix(f"{kind} ") for t in edge.server.stored.values() if t.startswith(f"{kind} "))


def apply(edge: Host, apps: dict[str, Any], release: str) -> None:
    edge.server.publish(edge.good(apps))
    edge.server.reported(lambda r: r.generation == edge.generation and all(a.release == release for a in r.apps))


def test_limits_change_under_the_running_container_and_it_is_told_in_words(edge: Host) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    before = edge.keeper.pids()

    apply(edge, shop("1.1", memory_bytes=1 << 25, pids=8), "1.1")

    edge.server.until(lambda: edge.server.count("app.updated") == 2)
    assert edge.keeper.pids() == before
    assert texts(edge, "limits.changed") == [
        "shop/web runs on in release 1.1, with other limits: memory 16 MiB -> 32 MiB, processes 16 -> 8"
    ]
    assert texts(edge, "container.kept") == ["shop/db runs on in release 1.1, unchanged"]
    assert edge.server.count("container.started") == 2
    assert edge.server.count("container.stopped") == 0


def test_what_the_kernel_refuses_is_replaced_and_the_reason_told(edge: Host) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    before = edge.keeper.pids()
    (edge.layout.state / "full").mkdir()
    (edge.layout.state / "full" / "shop.web").touch()

    apply(edge, shop("1.1", memory_bytes=1 << 23), "1.1")

    edge.server.until(lambda: edge.server.count("app.updated") == 2)
    after = edge.keeper.pids()
    assert (after["shop/db"], after["shop/web"] != before["shop/web"]) == (before["shop/db"], True)
    assert texts(edge, "limits.not-live") == [
        "shop/web is replaced, for its limits could not be changed while it runs: it holds too much memory"
    ]
    assert edge.server.count("container.stopped") == 1


def test_a_keeper_killed_between_doing_and_telling_tells_it_once(edge: Host) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    before = edge.keeper.pids()
    edge.server.publish(edge.good(shop("1.1", pids=8)))
    metas = [edge.layout.containers / f"shop.{name}" / "meta.json" for name in ("web", "db")]
    first = {json.loads(meta.read_text())["revision"] for meta in metas}
    edge.server.until(lambda: all(json.loads(meta.read_text())["revision"] not in first for meta in metas))

    edge.keeper.kill()
    edge.keeper.start()

    edge.server.until(lambda: edge.server.count("app.updated") == 2)
    assert edge.keeper.pids() == before
    assert edge.server.count("limits.changed") == 1
    assert edge.server.count("container.started") == 2


def test_anything_more_than_limits_is_a_replacement(edge: Host) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    before = edge.keeper.pids()
    other = shop("1.1", pids=8)
    other["shop"]["services"][1]["runtime_sha256"] = "b" * 64

    edge.apply(other)

    assert set(edge.keeper.pids().values()).isdisjoint(before.values())
    assert edge.server.count("limits.changed") == 0


def test_an_apps_total_changes_live_and_what_the_kernel_holds_is_reported(edge: Host) -> None:
    edge.online()
    edge.apply(shop("1.0"))
    before = edge.keeper.pids()
    with_total = shop("1.1")
    with_total["shop"]["total"] = {"memory_bytes": 1 << 25}

    apply(edge, with_total, "1.1")

    edge.server.until(lambda: edge.server.count("app.updated") == 2)
    assert edge.keeper.pids() == before
    assert texts(edge, "limits.changed") == [
        f"shop/{name} runs on in release 1.1, with other limits: the app's total memory none -> 32 MiB"
        for name in ("db", "web")
    ]
    edge.server.reported(lambda r: r.apps[0].limits == KernelLimits(memory_bytes=1 << 25, swap_bytes=0))
