"""The keeper's own sockets against services that answer well, badly, late, without end or not at all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import boottime
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.probe_io import MOST_READ, SocketQuestion, Target, answer_of, ask
from edge_daemon.keeper.probes import BAD, GOOD, MOST_AT_ONCE, UNKNOWN, Result, Rule
from edge_daemon.keeper.probing import Opinion, Probes
from edge_daemon.keeper.reactor import Reactor
from edge_daemon.sealed import Revision

pytestmark = pytest.mark.alone


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A service on the loopback that takes one connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    answer(connection)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(6)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


def target(kind: str, port: int, **rule: Any) -> Target:
    return Target("shop", "web", "r", "s", "127.0.0.1", Rule(kind, port=port, **{"timeout_s": 0.5, **rule}))


def answered(reactor: Reactor, asked: Target) -> Result:
    """Ask, and turn until there is an answer. No turn may take long."""
    question = SocketQuestion(asked, reactor, time.monotonic())
    for _ in range(1000):
        due = question.step(time.monotonic())
        if question.result is not None:
            return question.result
        reactor.turn(due - time.monotonic())
    raise AssertionError("no answer")


def says(*parts: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return answer


@pytest.mark.parametrize(
    ("parts", "pause", "result"),
    [
        pytest.param([b"HTTP/1.0 200 OK\r\n\r\nhello"], 0, Result(GOOD), id="ok"),
        pytest.param([b"HTTP/1.0 2", b"04 No Content\r\n"], 0.05, Result(GOOD), id="in two parts"),
        pytest.param([b"HTTP/1.0 503 x\r\n\r\n"], 0, Result(BAD, "answered 503"), id="unavailable"),
        pytest.param([b"H"] * 20, 0.1, Result(BAD, "did not answer within 0 s"), id="one byte at a time"),
        pytest.param([b"x" * MOST_READ * 50], 0, Result(BAD, "did not answer in HTTP"), id="a flood"),
        pytest.param([], 0, Result(BAD, "closed the connection without an answer"), id="nothing"),
    ],
)
def test_an_http_service_is_judged_by_its_first_line(
    reactor: Reactor, parts: list[bytes], pause: float, result: Result
) -> None:
    with served(says(*parts, pause=pause)) as port:
        assert answered(reactor, target("http", port)) == result


def test_the_question_is_a_plain_request_for_the_path(reactor: Reactor) -> None:
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        heard.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n")

    with served(answer) as port:
        assert answered(reactor, target("http", port, path="/a b?c=1")) == Result(GOOD)

    assert heard[0].split(b"\r\n")[:2] == [b"GET /a%20b?c=1 HTTP/1.0", f"Host: 127.0.0.1:{port}".encode()]
    assert heard[0].endswith(b"\r\n\r\n")


def test_a_port_that_takes_a_connection_is_enough_for_tcp(reactor: Reactor) -> None:
    with served(socket.socket.close) as port:
        assert answered(reactor, target("tcp", port)) == Result(GOOD)
    assert answered(reactor, target("tcp", port)) == Result(BAD, "refused the connection")


def test_one_that_hangs_is_ended_at_its_timeout_and_its_socket_is_closed(reactor: Reactor) -> None:
    closed: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        closed.append(connection.recv(1))

    with served(answer) as port:
        began = time.monotonic()
        assert answered(reactor, target("http", port, timeout_s=1)) == Result(BAD, "did not answer within 1 s")
        assert 0.9 < time.monotonic() - began < 2

    assert closed == [b""]


def test_an_answer_that_came_while_the_keeper_was_held_up_counts(reactor: Reactor) -> None:
    with served(says(b"HTTP/1.0 200 OK\r\n\r\n")) as port:
        question = SocketQuestion(target("http", port), reactor, time.monotonic())
        reactor.turn(1)  # connected and sent
        time.sleep(0.2)

        question.step(time.monotonic() + 1000)

        assert question.result == Result(GOOD)


def test_a_host_that_was_held_up_does_not_blame_the_service(reactor: Reactor) -> None:
    with served(lambda connection: connection.recv(4096) and None) as port:
        question = SocketQuestion(target("http", port), reactor, time.monotonic())

        question.step(time.monotonic() + 1000)

        assert question.result == Result(UNKNOWN, "could not be asked: the host was too busy")


def test_what_has_no_network_to_be_asked_over_is_unknown(reactor: Reactor) -> None:
    asked = target("tcp", 80)._replace(address="")

    found = ask(asked, cast("Machine", None), reactor, Children(reactor), time.monotonic())

    assert found.result == Result(UNKNOWN, "could not be asked: it has no network of its own to be asked over")


@pytest.mark.parametrize(
    ("line", "result"),
    [
        pytest.param(b'{"probe": {"status": 0, "said": ""}}', Result(GOOD), id="good"),
        pytest.param(b'{"probe": {"status": 7, "said": "no\\u001b"}}', None, id="bad, in inert words"),
        pytest.param(b'{"probe": {"status": null, "said": ""}}', Result(BAD, "did not end within 3 s"), id="hung"),
        pytest.param(b'{"failed": {"reason": "gone"}}', Result(UNKNOWN, "could not be asked: gone"), id="failed"),
        pytest.param(b"", UNKNOWN, id="killed"),
        pytest.param(b"[]", UNKNOWN, id="no object"),
        pytest.param(b'{"failed": 1}', UNKNOWN, id="no error"),
    ],
)
def test_what_the_child_process_says_becomes_an_answer(line: bytes, result: Result | str | None) -> None:
    found = answer_of(line, 3)

    if result is None:
        assert found == Result(BAD, "ended with exit code 7: no\N{REPLACEMENT CHARACTER}")
    elif isinstance(result, str):
        assert found.outcome == result
    else:
        assert found == result


class AskedByShell:
    """The one method of a machine that probes use: its command takes a moment and says what it is told."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.asked: list[str] = []

    def probe(self, _app: str, service: str, _revision: str, _seal: str, _kind: str) -> list[str]:
        self.asked.append(service)
        return ["/bin/sh", "-c", self.command]


def sealed(count: int) -> Revision:
    names = [f"s{n}" for n in range(count)]
    services = [{"name": name, "network": "app", "address": "", "probe": {"exec_args": ["x"]}} for name in names]
    return cast("Revision", {"revision": "r", "services": services})


def seen(service: str, pid: int = 1) -> Seen:
    return Seen("shop", service, "r", pid, 1.0, 100, None, None, oom_killed=False)


def children_now() -> int:
    return sum(len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children"))


GOOD_ANSWER = """sleep 0.1; echo '{"probe": {"status": 0, "said": ""}}'"""


def test_at_most_four_are_asked_at_once_and_each_has_its_turn(reactor: Reactor) -> None:
    machine, children = AskedByShell(GOOD_ANSWER), Children(reactor)
    probes = Probes(cast("Machine", machine), reactor, children, changed=lambda: None)
    observed = tuple(seen(f"s{n}") for n in range(9))
    before, most, opinion, end = children_now(), 0, Opinion(), time.monotonic() + 10
    while len(opinion.healthy) < 9:
        assert time.monotonic() < end
        opinion = probes.watch("shop", sealed(9), "s", observed, stopping=(), now=boottime())
        probes.step(boottime())
        most = max(most, children_now() - before)
        reactor.turn(0.02)
        children.reap()

    assert most == MOST_AT_ONCE
    assert sorted(machine.asked) == [f"s{n}" for n in range(9)]
    assert (opinion.probed, opinion.silent, opinion.failing) == (opinion.healthy, frozenset(), {})


def test_an_answer_about_a_container_that_is_gone_counts_for_nothing_and_its_place_is_taken_until_it_ends(
    reactor: Reactor,
) -> None:
    machine, children, told = AskedByShell(GOOD_ANSWER), Children(reactor), list[bool]()
    probes = Probes(cast("Machine", machine), reactor, children, changed=lambda: told.append(True))
    first = tuple(seen(f"s{n}") for n in range(4))
    again = tuple(seen(f"s{n}", pid=2) for n in range(4))
    probes.watch("shop", sealed(4), "s", first, stopping=(), now=boottime())
    probes.step(boottime())

    opinion = probes.watch("shop", sealed(4), "s", again, stopping=(), now=boottime())
    due = probes.step(boottime())

    assert len(machine.asked) == 4
    assert due == float("inf")
    assert (opinion.healthy, len(opinion.silent)) == (frozenset(), 4)
    end = time.monotonic() + 10
    while len(machine.asked) < 8:
        assert time.monotonic() < end
        reactor.turn(0.02)
        children.reap()
        probes.step(boottime())
    assert told == []
    probes.forget("shop")
    while children_now():
        time.sleep(0.01)
        children.reap()


def test_what_is_stopping_is_not_asked(reactor: Reactor) -> None:
    machine = AskedByShell(GOOD_ANSWER)
    probes = Probes(cast("Machine", machine), reactor, Children(reactor), changed=lambda: None)

    opinion = probes.watch("shop", sealed(1), "s", (seen("s0"),), stopping=("s0",), now=boottime())
    probes.step(boottime())

    assert machine.asked == []
    assert opinion == Opinion(silent=frozenset({"s0"}))
    assert probes.words("shop") == {}
