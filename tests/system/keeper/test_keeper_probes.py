"""Probes by the real keeper: real containers of runc, a network of their own, nobody to connect to."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keeper_broker import Broker
from keeper_support import KeeperProcess
from runtime_support import PYTHON, World, wait_for, world

from edge_daemon.sealed import ProbeValues, SealedService

LATER_READY = ["/bin/sh", "-c", "trap 'touch /tmp/ready' USR1; /bin/httpd -f -p 80 -h / & while :; do sleep 0.1; done"]
HTTPD = ["/bin/httpd", "-f", "-p", "80", "-h", "/"]
# It takes every connection, and says nothing on it.
DEAF = [
    "/bin/sh",
    "-c",
    "trap 'exit 0' TERM; /bin/httpd -f -p 80 -h / & deaf=$!; sleep 0.2; kill -STOP $deaf; wait",
]


class Edge:
    """One host whose keeper runs what a test seals."""

    def __init__(self, host: World) -> None:
        self.host = host
        self.apps: dict[str, Any] = {}
        self.generation = 0
        broker = host.base / "broker"
        broker.mkdir()
        Broker(broker).enrol(host.layout)  # it never runs
        words = ["--state-dir", str(host.layout.state), "--run-dir", str(host.layout.run)]
        words += ["--cgroup-parent", host.cgroup_parent]
        self.keeper = KeeperProcess(host.layout, [PYTHON, "-m", "edge_daemon.keeper", *words])

    def add(self, app: str, *services: tuple[SealedService, dict[str, Any]], subnet: str = "10.88.3.0/24") -> None:
        """Part of the next generation."""
        specs = self.host.app(app, *services, subnet=subnet)
        one = next(iter(specs.values()))
        self.apps[app] = {"revision": one.revision["revision"], "seal": one.seal, "release": "1.0.0"}

    def run(self) -> None:
        """Seal the generation and start the keeper."""
        self.generation += 1
        path = self.host.layout.generation(self.generation)
        path.parent.mkdir(parents=True)
        index = {
            "schema": "roadstead/generation/v1", "generation": self.generation, "apps": self.apps, "settings": {},
            "sha256": hashlib.sha256(json.dumps(self.apps).encode()).hexdigest(),
        }  # fmt: skip
        path.write_text(json.dumps(index))
        self.keeper.start()

    def until(self, name: str, true: Callable[[dict[str, Any]], object], seconds: float = 10.0) -> dict[str, Any]:
        """Wait until a container is so; what it then is."""
        last: dict[str, Any] = {}

        def look() -> bool:
            last.clear()
            last.update(self.keeper.containers().get(name, {}))
            return bool(last and true(last))

        try:
            wait_for(look, seconds, name)
        except AssertionError:
            raise AssertionError(f"{last} {self.story()} {self.keeper.log.read_text()[-800:]}") from None
        return last

    def healthy(self, name: str) -> dict[str, Any]:
        return self.until(name, lambda c: c["health"] == "healthy")

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        found = self.keeper.ask(ask="events", count=200)["events"]
        return [event for event in found if event["kind"] == kind or not kind]

    def story(self) -> list[str]:
        return [f"{event['kind']}: {event['text']}" for event in self.events()]


@pytest.fixture
def edge() -> Iterator[Edge]:
    with world() as host:
        made = Edge(host)
        try:
            yield made
        finally:
            made.keeper.end()


def probe(**values: Any) -> ProbeValues:
    usual = {
        "http_path": "/", "every_s": 1, "timeout_s": 1, "start_period_s": 0, "failures": 2, "healthy_for_s": 0,
    }  # fmt: skip
    return {**usual, **values}  # type: ignore[typeddict-item]


def service(
    edge: Edge, app: str, name: str, args: list[str], asked: ProbeValues | None, **more: Any
) -> tuple[SealedService, dict[str, Any]]:
    """One service that is always started again."""
    needs = more.pop("needs", {})
    policy = more.pop("policy", "always")
    sealed, config = edge.host.service(app, name, args, **more)
    sealed["restart_policy"], sealed["depends_on"] = policy, needs
    if asked is not None:
        sealed["probe"] = asked
    return sealed, config


def test_http_tcp_and_a_command_say_that_a_service_is_healthy(edge: Edge) -> None:
    edge.add(
        "shop",
        service(edge, "shop", "web", HTTPD, probe(http_port=80, http_path="/index.html")),
        service(edge, "shop", "tcp", HTTPD, probe(tcp_port=80), address="10.88.3.3"),
        service(edge, "shop", "exec", HTTPD, probe(exec_args=["/bin/sh", "-c", "exit 0"]), address="10.88.3.4"),
        service(edge, "shop", "none", HTTPD, None, address="10.88.3.5"),
        service(edge, "shop", "host", [*HTTPD[:3], "8080", *HTTPD[4:]], probe(tcp_port=8080), network="host"),
    )
    edge.run()

    pids = [edge.healthy(f"shop/{name}")["pid"] for name in ("web", "tcp", "exec", "host")]
    assert edge.keeper.containers()["shop/none"]["health"] == "none"
    edge.keeper.end()
    edge.keeper.start()

    assert [edge.healthy(f"shop/{name}")["pid"] for name in ("web", "tcp", "exec", "host")] == pids
    assert edge.events("probe.failed") == []


def test_one_that_answers_nothing_is_ended_at_its_timeout_and_started_again_and_no_other_is_touched(
    edge: Edge,
) -> None:
    edge.add("shop", service(edge, "shop", "web", DEAF, probe(http_port=80), policy="on-failure"))
    edge.add(
        "blog",
        service(edge, "blog", "web", HTTPD, probe(http_port=80, http_path="/index.html"), address="10.88.4.2"),
        subnet="10.88.4.0/24",
    )
    edge.run()
    first = edge.until("shop/web", lambda c: "did not answer within 1 s" in c.get("why", ""))["pid"]
    beside = edge.healthy("blog/web")["pid"]

    edge.until("shop/web", lambda c: c["restarts"] >= 1 and c.get("pid") not in (None, first))

    (failed,) = edge.events("probe.failed")[:1]
    assert failed["text"] == (
        "shop/web failed its probe: http :80/ did not answer within 1 s (2 of 2 failures); "
        "it is stopped and started again"
    )
    (ended,) = edge.events("container.exited")[:1]
    assert ended["text"].startswith("shop/web was stopped, for it failed its probe, after ")
    assert ended["text"].endswith("it is started again")
    assert edge.keeper.containers()["blog/web"]["pid"] == beside


def test_a_failing_command_says_why_and_a_one_off_that_fails_is_left_alone(edge: Edge) -> None:
    asked = probe(exec_args=["/bin/sh", "-c", "echo the disk is full; exit 7"], failures=1)
    edge.add("shop", service(edge, "shop", "job", HTTPD, asked, policy="no"))
    edge.run()
    first = edge.until("shop/job", lambda c: c["health"] == "unhealthy")

    time.sleep(1.2)

    assert "its command ended with exit code 7: the disk is full" in first["why"]
    assert edge.keeper.containers()["shop/job"]["pid"] == first["pid"]
    assert [e["text"].rpartition("; ")[2] for e in edge.events("probe.failed")] == [
        "it is left running, for its restart policy is `no`"
    ]


def test_what_needs_a_healthy_service_starts_after_it_is_healthy(edge: Edge) -> None:
    late = ["/bin/sh", "-c", "sleep 1; exec /bin/httpd -f -p 80 -h /"]
    edge.add(
        "shop",
        service(edge, "shop", "db", late, probe(tcp_port=80, start_period_s=30)),
        service(edge, "shop", "web", HTTPD, None, address="10.88.3.3", needs={"db": "healthy"}),
    )
    edge.run()

    waiting = edge.until("shop/web", lambda c: c["state"] == "waiting")
    assert "pid" not in waiting
    assert edge.until("shop/db", lambda c: c.get("why"))["health"] == "starting"
    web = edge.until("shop/web", lambda c: c["state"] == "running" and c.get("started_at"))
    db = edge.healthy("shop/db")

    assert web["started_at"] - db["started_at"] >= 1
    assert edge.events("probe.failed") == []


def test_what_needs_a_healthy_service_waits_for_its_readiness_as_well(edge: Edge) -> None:
    db, config = service(edge, "shop", "db", LATER_READY, probe(tcp_port=80))
    db["readiness"] = probe(exec_args=["/bin/sh", "-c", "test -e /tmp/ready"], failures=1)
    edge.add(
        "shop",
        (db, config),
        service(edge, "shop", "web", HTTPD, None, address="10.88.3.3", needs={"db": "healthy"}),
    )
    edge.run()
    alive = edge.healthy("shop/db")
    edge.until("shop/db", lambda c: c.get("ready") is False)
    time.sleep(2)

    waiting = edge.until("shop/web", lambda c: c["state"] == "waiting")
    assert waiting["why"] == "waits until db is healthy"
    edge.host.runtime.signal("shop", "db", "SIGUSR1")

    edge.until("shop/web", lambda c: c["state"] == "running")
    assert edge.healthy("shop/db")["pid"] == alive["pid"], "it is never started again for its readiness"
    assert [e["text"] for e in edge.events("probe.ready")] == ["shop/db is ready again"]


def test_a_container_that_crashes_while_its_probe_hangs_is_started_again_at_once(edge: Edge) -> None:
    asked = probe(exec_args=["/bin/sh", "-c", "sleep 1000"], timeout_s=60)
    edge.add("shop", service(edge, "shop", "web", ["/bin/sh", "-c", "sleep 1; exit 3"], asked))
    edge.run()
    first = edge.until("shop/web", lambda c: c.get("pid"))["pid"]

    began = time.monotonic()
    edge.until("shop/web", lambda c: c.get("pid") not in (None, first))

    assert time.monotonic() - began < 6
    assert edge.events("probe.failed") == []


def test_more_hung_probes_than_may_be_asked_at_once_hold_up_no_other_for_long(edge: Edge) -> None:
    hung = [
        service(edge, "shop", f"deaf{n}", DEAF, probe(http_port=80, failures=100), address=f"10.88.3.{10 + n}")
        for n in range(6)
    ]
    edge.add("shop", *hung, service(edge, "shop", "web", HTTPD, probe(tcp_port=80)))
    edge.run()

    edge.healthy("shop/web")
    for n in range(6):
        edge.until(f"shop/deaf{n}", lambda c: "did not answer" in c.get("why", ""))
    assert edge.events("probe.failed") == []


def test_a_keeper_that_is_killed_while_it_ends_a_failing_container_goes_on_and_tells_it_once(edge: Edge) -> None:
    stubborn = [*DEAF[:2], DEAF[2].replace("exit 0", "").replace("wait", "while :; do wait; sleep 1; done")]
    web, config = service(edge, "shop", "web", stubborn, probe(http_port=80), policy="on-failure")
    web["stop_grace_s"] = 1
    edge.add("shop", (web, config))
    edge.run()
    first = edge.until("shop/web", lambda c: c["state"] == "stopping")
    assert "did not answer" in first["why"]

    edge.keeper.kill()
    edge.keeper.start()
    edge.until("shop/web", lambda c: c["restarts"] == 1)

    assert len(edge.events("probe.failed")) == 1
    (ended,) = edge.events("container.exited")
    assert "was stopped, for it failed its probe" in ended["text"]


def test_a_release_that_fails_its_probe_goes_back_to_the_last_good_alone(edge: Edge) -> None:
    edge.host.health_window_s = 1
    asked = probe(http_port=80, http_path="/index.html")
    edge.add("shop", service(edge, "shop", "web", HTTPD, asked))
    edge.add("blog", service(edge, "blog", "web", HTTPD, None, address="10.88.4.2"), subnet="10.88.4.0/24")
    good = edge.apps["shop"]["revision"]
    edge.run()
    wait_for(lambda: len(edge.events("app.good")) == 2, 10, "the first release to be good")
    beside = edge.keeper.containers()["blog/web"]["pid"]
    edge.keeper.end()

    edge.add("shop", service(edge, "shop", "web", DEAF, asked))
    edge.run()
    wait_for(lambda: bool(edge.events("app.returned")), 15, "the return")

    assert edge.healthy("shop/web")["revision"] == good
    assert edge.keeper.containers()["blog/web"]["pid"] == beside
    assert "http :80/index.html did not answer within 1 s" in edge.events("app.returned")[0]["text"]
