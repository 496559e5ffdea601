"""Updates that start the new revision first, in real containers under the real keeper: what a client of it notices."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest
from runtime_support import wait_for
from trial_support import CRASHES, SLEEPS, TrialHost, trial_host

from edge_daemon.keeper.runtime import namespaces
from edge_daemon.sealed import IndexedApp, PortMapping, ProbeValues
from edge_daemon.slots import A, B

PORT = 8088
SERVES = ["/bin/httpd", "-f", "-p", "8080", "-h", "/"]
PROBE: ProbeValues = {
    "http_port": 8080, "http_path": "/index.html", "every_s": 1, "timeout_s": 2, "start_period_s": 0, "failures": 3,
    "healthy_for_s": 0,
}  # fmt: skip
PUBLISHED: list[PortMapping] = [{"host_ip": "", "host_port": PORT, "container_port": 8080, "protocol": "tcp"}]


@pytest.fixture
def edge() -> Iterator[TrialHost]:
    with trial_host() as made:
        yield made


def web(edge: TrialHost, release: str, slot: str, args: list[str] = SERVES, probe: ProbeValues = PROBE) -> IndexedApp:
    return edge.revision("shop", release, args, slot=slot, probe=probe, ports=PUBLISHED, window_s=3)


class Client:
    """Asks the published port without a pause, from another thread in the host's network."""

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.failures: list[str] = []
        self._going = threading.Event()
        self._host = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._going.set()
        self._thread.start()
        wait_for(lambda: len(self.answers) > 5, 10, "the first answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._going.clear()
        self._thread.join()

    def gap(self) -> float:
        """The longest time between two answers."""
        return max(after - before for before, after in zip(self.answers, self.answers[1:], strict=False))

    def _ask(self) -> None:
        with namespaces.inside(self._host):
            self._until_told()

    def _until_told(self) -> None:
        while self._going.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=2)
            try:
                connection.request("GET", "/index.html")
                answer = connection.getresponse()
                assert answer.read() == b"hello from the container\n"
                self.answers.append(time.monotonic())
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            finally:
                connection.close()
            time.sleep(0.01)


def updated(edge: TrialHost, change: Callable[[], None]) -> Client:
    """What a client saw of an update to 1.1."""
    with Client() as client:
        change()
        edge.good("shop", "1.1")
        wait_for(lambda: len(edge.world.runtime.seen()) == 1, 10, "the earlier revision to be gone")
    return client


def test_a_client_sees_no_failed_request_across_a_start_first_update_and_a_gap_otherwise(edge: TrialHost) -> None:
    edge.deliver(shop=web(edge, "1.0", A))
    edge.good("shop", "1.0")

    first = updated(edge, lambda: edge.deliver(shop=web(edge, "1.1", B)))

    assert first.failures == []
    assert edge.events("container.started", "container.stopped")[1:] == [
        "container.started shop/web of release 1.1 started",
        "container.stopped shop/web did not stop within its grace and was killed",  # the server ignores the signal
    ]
    (container,) = edge.app("shop")["services"]
    assert container["name"] == "web", "nobody need know of slots"

    by_shell = ["/bin/sh", "-c", f"exec {' '.join(SERVES)}"]
    edge.deliver(shop=web(edge, "1.0", B, by_shell))
    edge.good("shop", "1.0")
    assert edge.events("app.recreated") == [
        "app.recreated shop 1.0 is not started first: what it replaces has its place on this host"
    ]
    recreated = updated(edge, lambda: edge.deliver(shop=web(edge, "1.1", "", by_shell)))
    assert recreated.failures
    print(f"\nlongest time without an answer: start-first {first.gap():.2f} s, recreate {recreated.gap():.2f} s")
    assert first.gap() < recreated.gap()


@pytest.mark.parametrize("args", [CRASHES, SLEEPS], ids=["it crashes", "it never answers its probe"])
def test_a_bad_candidate_leaves_the_running_one_as_it_is(edge: TrialHost, args: list[str]) -> None:
    edge.deliver(shop=web(edge, "1.0", A))
    edge.good("shop", "1.0")
    before = edge.identity("shop")

    with Client() as client:
        edge.deliver(shop=web(edge, "1.1", B, args))
        back = edge.until("shop", lambda app: app.get("state") == "failed" and app.get("release") == "1.0", 40)
        wait_for(lambda: len(edge.world.runtime.seen()) == 1, 10, "the candidate to be gone")

    assert client.failures == []
    assert edge.identity("shop") == before
    assert back["why"].startswith("1.1 went back to 1.0: web ")


def test_a_daemon_that_is_killed_in_the_middle_goes_on_from_what_it_finds(edge: TrialHost) -> None:
    edge.deliver(shop=web(edge, "1.0", A))
    edge.good("shop", "1.0")
    before = edge.identity("shop")
    slow = ["/bin/sh", "-c", f"sleep 4; exec {' '.join(SERVES)}"]

    with Client() as client:
        edge.deliver(shop=web(edge, "1.1", B, slow, {**PROBE, "start_period_s": 15}))
        wait_for(lambda: len([s for s in edge.world.runtime.seen() if s.pid]) == 2, 15, "both to run")
        candidate = edge.identity("shop", "web.b")
        edge.keeper.kill()
        assert edge.identity("shop") == before
        edge.keeper.start()
        edge.good("shop", "1.1")
        wait_for(lambda: len(edge.world.runtime.seen()) == 1, 10, "the earlier revision to be gone")

    assert client.failures == []
    assert edge.identity("shop", "web.b") == candidate
