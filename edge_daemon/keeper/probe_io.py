"""Asking services how they are, in the keeper's own reactor. Nothing here waits, and nothing of an answer is kept.

http and tcp go by sockets of our own to the service's address in its app's network (`http.client` would cost 2 MB that
stay); a command runs in the container through the starter. An answer is a `Result` that stands in `result` when it is
there: the keeper looks after every turn.
"""

from __future__ import annotations

import errno
import json
import select
import socket
from typing import NamedTuple, Protocol

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import NEVER
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.probes import BAD, GOOD, UNKNOWN, Result, Rule, status_of
from edge_daemon.keeper.reactor import READ, WRITE, Reactor
from fleet_protocol.wire.errors import inert

MOST_READ = 4096
MOST_LINE = 4096
LATE_S = 1.0
"""So much later than its timeout, the host was too busy to know whether the service answered in time."""
STARTER_S = 10.0
"""For the child process around a command, which ends the command itself at its timeout."""

ITS_FAULT = {
    errno.ECONNREFUSED: "refused the connection",
    errno.ECONNRESET: "broke the connection",
    errno.EPIPE: "broke the connection",
    errno.EHOSTUNREACH: "cannot be reached",
    errno.EHOSTDOWN: "cannot be reached",
    errno.ETIMEDOUT: "cannot be reached",
}


class Target(NamedTuple):
    """Whom to ask, where and what."""

    app: str
    service: str
    revision: str
    seal: str
    address: str  # "" when there is no network over which it could be asked
    rule: Rule
    kind: str = "probe"  # probe or readiness: which of the sealed service's


class Question(Protocol):
    """One question under way."""

    result: Result | None

    def step(self, now: float) -> float:
        """End it if its time is up. When to look again."""

    def drop(self) -> None:
        """Nobody wants the answer any more."""


def ask(target: Target, machine: Machine, reactor: Reactor, children: Children, now: float) -> Question:
    """Begin to ask."""
    if target.rule.kind == "exec":
        return CommandQuestion(target, machine, children, now)
    return SocketQuestion(target, reactor, now)


class SocketQuestion:
    """A connection, and for http the first line of what comes back."""

    def __init__(self, target: Target, reactor: Reactor, now: float) -> None:
        rule = target.rule
        self.result: Result | None = None
        self._reactor = reactor
        self._timeout = rule.timeout_s
        self._deadline = now + rule.timeout_s
        self._unsent = _request(rule, target.address) if rule.kind == "http" else b""
        self._http = rule.kind == "http"
        self._heard = b""
        self._socket: socket.socket | None = None
        if not target.address or not rule.port:
            self.result = Result(UNKNOWN, "could not be asked: it has no network of its own to be asked over")
            return
        try:
            self._socket = socket.socket(
                socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            code = self._socket.connect_ex((target.address, rule.port))
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS) or self._socket is None:
            self._end(_of(code))
        else:
            reactor.watch(self._socket.fileno(), self._ready, WRITE)

    def step(self, now: float) -> float:
        """At its deadline what is there already still counts: the keeper may have been held up itself."""
        if self.result is None and now >= self._deadline and self._socket is not None:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN if self._http and not self._unsent else select.POLLOUT)
            if poll.poll(0):
                self._ready(0)
            if self.result is None and now - self._deadline > LATE_S:
                self._end(Result(UNKNOWN, "could not be asked: the host was too busy"))
            elif self.result is None:
                self._end(Result(BAD, f"did not answer within {self._timeout:.0f} s"))
        return self._deadline if self.result is None else 0.0

    def drop(self) -> None:
        """Close the connection."""
        self._end(Result(UNKNOWN))

    def _ready(self, _mask: int) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            if self._http and not self._unsent:
                self._hear(connection)
            elif code := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(_of(code))
            elif not self._http:
                self._end(Result(GOOD))
            else:
                self._unsent = self._unsent[connection.send(self._unsent) :]
                if not self._unsent:
                    self._reactor.watch(connection.fileno(), self._ready, READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(_of(error.errno or errno.EIO))

    def _hear(self, connection: socket.socket) -> None:
        data = connection.recv(MOST_READ - len(self._heard))
        self._heard += data
        if (found := status_of(self._heard)) is not None:
            self._end(found)
        elif not data or len(self._heard) >= MOST_READ:
            self._end(Result(BAD, "closed the connection without an answer"))

    def _end(self, result: Result) -> None:
        self.result = self.result or result
        if self._socket is not None:
            self._reactor.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None


class CommandQuestion:
    """A command in the container. Its end says how it is."""

    def __init__(self, target: Target, machine: Machine, children: Children, now: float) -> None:
        self.result: Result | None = None
        self._timeout = target.rule.timeout_s
        self._last = b""
        command = machine.probe(target.app, target.service, target.revision, target.seal, target.kind)
        try:
            children.spawn(command, self._heard, self._ended, now=now, deadline=self._timeout + STARTER_S)
        except OSError as error:
            self.result = Result(UNKNOWN, f"could not be asked: {error.strerror}")

    def step(self, _now: float) -> float:
        """The child process keeps the time, and `Children` keeps the child's."""
        return NEVER if self.result is None else 0.0

    def drop(self) -> None:
        """It ends by itself at its timeout, and with the container at the latest."""

    def _heard(self, line: bytes) -> None:
        self._last = line[:MOST_LINE]

    def _ended(self, _status: int) -> None:
        self.result = answer_of(self._last, self._timeout)


def answer_of(line: bytes, timeout: float) -> Result:
    """What the starter's last line says."""
    try:
        found = json.loads(line)
        if "failed" in found:
            return Result(UNKNOWN, f"could not be asked: {inert(str(found['failed'].get('reason')))[:200]}")
        status, said = found["probe"]["status"], inert(str(found["probe"]["said"]))[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Result(UNKNOWN, "could not be asked: the child process that asks it gave no answer")
    if status == 0:
        return Result(GOOD)
    if status is None:
        return Result(BAD, f"did not end within {timeout:.0f} s")
    return Result(BAD, f"ended with exit code {status}{f': {said}' if said else ''}")


def _request(rule: Rule, address: str) -> bytes:
    return (
        f"GET {rule.path.replace(' ', '%20')} HTTP/1.0\r\nHost: {address}:{rule.port}\r\n"
        "User-Agent: roadstead-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii", "replace")


def _of(code: int) -> Result:
    """What a failed system call says: of the service, or of this host."""
    if code in ITS_FAULT:
        return Result(BAD, ITS_FAULT[code])
    return Result(UNKNOWN, f"could not be asked: {errno.errorcode.get(code, str(code))}")
