"""The local socket: one line of JSON asks, one line answers. Root and the daemon's own user only.

The file's mode (0600) keeps others out; the kernel's word on who the peer is (SO_PEERCRED) is checked all the same.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from edge_daemon.keeper.clock import NEVER
from edge_daemon.keeper.errors import AskError, NotAllowedError
from edge_daemon.keeper.local_client import short_path
from edge_daemon.keeper.reactor import WRITE, Reactor
from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import RoadsteadError

MAX_REQUEST = 4096
MAX_PEERS = 8
PATIENCE_S = 5.0

Answerer = Callable[[dict[str, Any]], dict[str, Any]]


class Peer:
    """One connection: reads its line, then writes the answer."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.allowed = _uid(sock) in (0, os.geteuid())
        self.deadline = deadline
        self.request = b""
        self.answer = b""


class LocalSocket:
    """Listens below the run directory."""

    def __init__(self, layout: Layout, reactor: Reactor, answer: Answerer, now: Callable[[], float]) -> None:
        self._path = str(layout.socket)
        self._reactor = reactor
        self._answer = answer
        self._now = now
        self._peers: dict[int, Peer] = {}
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)  # it must never exist with a wider mode
        try:
            with short_path(self._path) as address:
                self._listening.bind(address)
        except BaseException:
            self._listening.close()
            raise
        finally:
            os.umask(before)
        self._listening.listen(64)
        reactor.watch(self._listening.fileno(), self._accept)

    def step(self, now: float) -> float:
        """Part with those who do not go on. When to look again."""
        for peer in [p for p in self._peers.values() if p.deadline <= now]:
            self._drop(peer)
        return min((p.deadline for p in self._peers.values()), default=NEVER)

    def close(self) -> None:
        """Stop listening."""
        for peer in list(self._peers.values()):
            self._drop(peer)
        self._reactor.unwatch(self._listening.fileno())
        self._listening.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    def _accept(self, _mask: int) -> None:
        try:
            sock, _ = self._listening.accept()
        except OSError:
            return
        sock.setblocking(False)
        if len(self._peers) >= MAX_PEERS:
            self._drop(min(self._peers.values(), key=lambda p: p.deadline))
        peer = Peer(sock, self._now() + PATIENCE_S)
        self._peers[sock.fileno()] = peer
        self._reactor.watch(sock.fileno(), lambda _mask: self._read(peer))

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.sock.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        peer.request += data
        line, newline, _ = peer.request.partition(b"\n")
        if not newline:
            if not data or len(peer.request) > MAX_REQUEST:
                self._drop(peer)
            return
        try:
            if not peer.allowed:
                raise NotAllowedError("only root may ask")
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise AskError("a question is a JSON object")
            answer = self._answer(asked)
        except (ValueError, RecursionError):
            answer = {"failed": AskError("a question is a JSON object").as_dict()}
        except RoadsteadError as error:
            answer = {"failed": error.as_dict()}
        self._respond(peer, answer)

    def _respond(self, peer: Peer, answer: dict[str, Any]) -> None:
        peer.answer = json.dumps(answer).encode() + b"\n"
        self._reactor.watch(peer.sock.fileno(), lambda _mask: self._write(peer), WRITE)
        self._write(peer)

    def _write(self, peer: Peer) -> None:
        try:
            sent = peer.sock.send(peer.answer)
        except BlockingIOError:
            return
        except OSError:
            sent = len(peer.answer)
        peer.answer = peer.answer[sent:]
        if not peer.answer:
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        number = peer.sock.fileno()
        if number >= 0:
            self._reactor.unwatch(number)
            self._peers.pop(number, None)
            peer.sock.close()


def _uid(sock: socket.socket) -> int:
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)
