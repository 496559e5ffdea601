from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.retune import limits_only, words
from edge_daemon.keeper.supervise import Clear, Kill, Retune, Settle, Start, Stop, Unit, Wait, Wanted, supervise
from edge_daemon.prepare.oci import fixed_sha256
from edge_daemon.sealed import LimitValues, Revision

LIMITS: LimitValues = {"memory_bytes": 64 << 20, "cpu_millis": 500, "cpu_weight": 100, "pids": 32, "nofile": 256}


def service(name: str) -> dict[str, Any]:
    return {
        "name": name, "image": "sha256:" + "1" * 64, "layers": ["a"], "network": "app", "address": "10.88.1.2",
        "ports": [], "volumes": [], "depends_on": {}, "restart_policy": "always", "stop_signal": "SIGTERM",
        "stop_grace_s": 10, "limits": dict(LIMITS), "runtime_sha256": "2" * 64,
    }  # fmt: skip


def revision() -> dict[str, Any]:
    return {
        "schema": "roadstead/revision/v1", "app": "shop", "release": "1.0", "release_sha256": "3" * 64,
        "revision": "4" * 64, "subnet": "10.88.1.0/24", "start_order": ["db", "web"],
        "services": [service("db"), service("web")], "health_window_s": 60, "max_restarts": 0, "group": [],
        "files": {"services/web/config.json": "5" * 64, "services/web/hosts": "6" * 64},
    }  # fmt: skip


def later() -> dict[str, Any]:
    """The same app in the next release, with other limits of one service."""
    out = revision() | {"release": "1.1", "release_sha256": "7" * 64, "revision": "8" * 64}
    out["services"][1]["limits"]["memory_bytes"] = 96 << 20
    out["files"]["services/web/config.json"] = "9" * 64
    return out


def compare(old: dict[str, Any], new: dict[str, Any]) -> dict[str, LimitValues] | None:
    return limits_only(cast("Revision", old), cast("Revision", new))


def test_limits_alone_are_recognised_in_either_direction() -> None:
    assert compare(revision(), later()) == {"db": LIMITS, "web": {**LIMITS, "memory_bytes": 96 << 20}}
    assert compare(later(), revision()) == {"db": LIMITS, "web": LIMITS}


def test_a_release_that_changes_nothing_needs_nothing() -> None:
    assert compare(revision(), revision() | {"release": "1.1", "revision": "8" * 64}) == {"db": LIMITS, "web": LIMITS}


def change(path: tuple[str | int, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(revision: dict[str, Any]) -> None:
        at: Any = revision
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    "also",
    [
        pytest.param(change(("services", 0, "image"), "sha256:" + "a" * 64), id="an image"),
        pytest.param(change(("services", 0, "layers"), ["b"]), id="layers"),
        pytest.param(change(("services", 0, "ports"), [{}]), id="ports"),
        pytest.param(change(("services", 0, "volumes"), [{}]), id="volumes"),
        pytest.param(change(("services", 0, "stop_signal"), "SIGINT"), id="how it stops"),
        pytest.param(change(("services", 0, "restart_policy"), "no"), id="how it restarts"),
        pytest.param(change(("services", 0, "restart_max"), 3), id="how often it restarts"),
        pytest.param(change(("services", 0, "probe"), {}), id="a probe"),
        pytest.param(change(("services", 0, "depends_on"), {"web": "started"}), id="a dependency"),
        pytest.param(change(("services", 0, "runtime_sha256"), "b" * 64), id="anything else in config.json"),
        pytest.param(change(("services", 0, "name"), "cache"), id="another service"),
        pytest.param(change(("services", 0, "new-field"), 1), id="a field of a later version"),
        pytest.param(lambda r: r["services"].pop(), id="one service fewer"),
        pytest.param(change(("files", "services/web/hosts"), "c" * 64), id="names of hosts"),
        pytest.param(change(("files", "services/web/files/0"), "c" * 64), id="a configuration value in a file"),
        pytest.param(change(("files", "services/web/files/config.json"), "c" * 64), id="a file called config.json"),
        pytest.param(change(("subnet",), "10.88.2.0/24"), id="the network"),
        pytest.param(change(("health_window_s",), 30), id="the health window"),
        pytest.param(change(("group",), ["blog"]), id="the group"),
        pytest.param(change(("hooks",), {}), id="a field of the revision that is not known yet"),
    ],
)
def test_whatever_else_differs_makes_a_replacement(also: Callable[[dict[str, Any]], None]) -> None:
    new = later()
    also(new)
    assert compare(revision(), new) is None
    assert compare(new, revision()) is None


def test_what_an_older_prepare_did_not_hash_is_replaced() -> None:
    old, new = revision(), later()
    for made in (old, new):
        del made["services"][0]["runtime_sha256"]
    assert compare(old, new) is None


CONFIG: dict[str, Any] = {
    "process": {"args": ["/bin/a"], "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 256, "hard": 256}]},
    "mounts": [{"source": "/state/revisions/shop/AAAA/services/web/hosts"}],
    "linux": {"resources": {
        "memory": {"limit": 1}, "cpu": {"quota": 1}, "pids": {"limit": 1}, "unified": {"memory.high": "1"},
        "blockIO": {"throttleReadBpsDevice": []}, "devices": [{"allow": False}],
    }},
}  # fmt: skip


def fixed(config: dict[str, Any], name: str = "AAAA") -> str:
    return fixed_sha256(json.dumps(config).encode(), name)


@pytest.mark.parametrize("key", ["memory", "cpu", "pids", "unified", "blockIO"])
def test_live_limits_and_the_revisions_own_name_do_not_count_in_the_hash(key: str) -> None:
    other = copy.deepcopy(CONFIG)
    other["linux"]["resources"][key] = {"other": 2}
    other["mounts"][0]["source"] = "/state/revisions/shop/BBBB/services/web/hosts"
    assert fixed(other, "BBBB") == fixed(CONFIG)


@pytest.mark.parametrize(
    "path",
    [("process", "args"), ("process", "rlimits"), ("linux", "resources", "devices"), ("mounts", 0, "source")],
)
def test_everything_else_counts_in_the_hash(path: tuple[str | int, ...]) -> None:
    other = copy.deepcopy(CONFIG)
    change(path, ["other"])(other)
    assert fixed(other) != fixed(CONFIG)


def test_what_changed_is_said_in_words() -> None:
    new: LimitValues = {
        **LIMITS,
        "memory_bytes": 100_000_001,
        "cpu_millis": 250,
        "cpuset": "0-1",
        "memory_high_bytes": 1 << 30,
    }
    assert words(LIMITS, new) == (
        "cpus 0.5 -> 0.25, cores none -> 0-1, memory 64 MiB -> 100000001 bytes, memory high none -> 1 GiB"
    )
    assert words(LIMITS, LIMITS) == ""


# --- what supervise makes of it

UNITS = (Unit("db"), Unit("web", needs=(("db", "started"),)))


def seen(service: str, revision: str, *, pid: int | None = 7) -> Seen:
    return Seen("shop", service, revision, pid, 1.0, 100, None, None, oom_killed=False)


def test_containers_that_limits_alone_tell_apart_are_retuned_and_never_stopped() -> None:
    wanted = Wanted("b", UNITS, tunable=frozenset({"db", "web"}))
    assert supervise((seen("db", "a"), seen("web", "a")), wanted, 0.0) == [Retune("db"), Retune("web")]


def test_one_that_ended_or_was_asked_to_stop_is_not_retuned() -> None:
    wanted = Wanted("b", UNITS, tunable=frozenset({"db", "web"}), stopping={"web": 5.0})
    actions = supervise((seen("db", "a", pid=None), seen("web", "a")), wanted, 0.0)
    assert actions == [Clear("db"), Wait("web", 5.0, "has been asked to stop")]


def test_one_that_a_child_works_on_waits() -> None:
    wanted = Wanted("b", UNITS, tunable=frozenset({"db"}), busy=frozenset({"db"}))
    assert isinstance(supervise((seen("db", "a"),), wanted, 0.0)[0], Wait)


@given(
    running=st.dictionaries(st.sampled_from(["db", "web"]), st.booleans()),
    refused=st.sets(st.sampled_from(["db", "web"])),
)
def test_from_any_mixture_it_converges_and_rests(running: dict[str, bool], refused: set[str]) -> None:
    """Every container is there in the wanted revision at the end; only those refused were stopped."""
    world = {name: seen(name, "a", pid=7 if runs else None) for name, runs in running.items()}
    stopping: dict[str, float] = {}
    giving_up: set[str] = set()
    stopped: set[str] = set()
    for turn in range(30):
        tunable = frozenset(n for n, s in world.items() if s.revision == "a" and s.pid and n not in giving_up)
        wanted = Wanted("b", UNITS, tunable=tunable, stopping=dict(stopping))
        actions = [a for a in supervise(tuple(world.values()), wanted, float(turn)) if not isinstance(a, Wait)]
        if not actions:
            break
        for action in actions:
            match action:
                case Retune(name) if name in refused:
                    giving_up.add(name)
                case Retune(name):
                    world[name] = world[name]._replace(revision="b")
                case Start(name):
                    world[name] = seen(name, "b", pid=8)
                case Stop(name, _, _):
                    stopped.add(name)
                    world[name] = world[name]._replace(pid=None)
                case Kill(name) | Clear(name):
                    del world[name]
                case _:
                    pytest.fail(f"{action}")
    assert {name: (one.revision, one.pid is not None) for name, one in world.items()} == {
        "db": ("b", True), "web": ("b", True),
    }  # fmt: skip
    assert stopped <= refused


def test_a_container_that_was_killed_in_part_for_memory_ends_as_a_whole_and_is_told_once() -> None:
    half = seen("db", "b")._replace(oom_killed=True)
    assert supervise((half,), Wanted("b", UNITS[:1]), 0.0) == [Stop("db", "SIGKILL", 10.0)]
    waiting = supervise((half,), Wanted("b", UNITS[:1], stopping={"db": 10.0}), 1.0)
    assert waiting == [Wait("db", 10.0, "was killed in part: out of memory")]
    assert supervise((half,), Wanted("b", UNITS[:1], stopping={"db": 10.0}), 10.0) == [Settle("db")]
