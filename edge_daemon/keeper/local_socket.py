"""The local socket: one line of JSON asks, one line answers. Root and the daemon's own user only, unless there is a
group whose members may look.

The file's mode (0600, with a group 0660) keeps others out; the kernel's word on who the peer is (SO_PEERCRED,
SO_PEERGROUPS: as they were when it connected) is checked all the same.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from edge_daemon.keeper.clock import NEVER
from edge_daemon.keeper.errors import AskError, NotAllowedError
from edge_daemon.keeper.local_client import short_path
from edge_daemon.keeper.reactor import WRITE, Reactor
from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import RoadsteadError

MAX_REQUEST = 4096
MAX_PEERS = 8
PATIENCE_S = 5.0

SO_PEERGROUPS = 59  # <asm-generic/socket.h>, Linux 4.13; Python has no name for it
MOST_GROUPS_BYTES = 1024  # what Python lets a socket option have: 256 groups
LOOKING = ("status", "ps", "top", "events", "logs")

Answerer = Callable[[dict[str, Any]], dict[str, Any]]
"""An answer's `open` names files; their descriptors go with it, so that the asker needs no right to the directory."""


class Members(NamedTuple):
    """The group whose members may look, and whether they may change things too."""

    gid: int | None = None
    may_change: bool = False


class Peer:
    """One connection: reads its line, then writes the answer."""

    def __init__(self, sock: socket.socket, deadline: float, members: Members) -> None:
        self.sock = sock
        uid, groups = credentials(sock)
        self.owner = uid in (0, os.geteuid())
        self.member = members.gid is not None and members.gid in groups
        self.deadline = deadline
        self.request = b""
        self.answer = b""
        self.files: list[int] = []

    def close_files(self) -> None:
        """They have been handed over, or never will be."""
        while self.files:
            os.close(self.files.pop())


class LocalSocket:
    """Listens below the run directory."""

    def __init__(
        self,
        layout: Layout,
        reactor: Reactor,
        answer: Answerer,
        now: Callable[[], float],
        members: Members = Members(),  # noqa: B008  a tuple
    ) -> None:
        self._members = members
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
            if members.gid is not None:
                os.chown(self._path, -1, members.gid)
                os.chmod(self._path, 0o660)
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
        peer = Peer(sock, self._now() + PATIENCE_S, self._members)
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
            if not (peer.owner or peer.member):
                others = "" if self._members.gid is None else " and members of the socket's group"
                raise NotAllowedError(f"only root{others} may ask")
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise AskError("a question is a JSON object")
            if not (peer.owner or self._members.may_change or asked.get("ask") in LOOKING):
                hint = "run it as root, or start the daemon with --socket-group-may-change"
                raise NotAllowedError(
                    "members of the socket's group may look; only root may change anything", hint=hint
                )
            answer = self._answer(asked)
        except (ValueError, RecursionError):
            answer = {"failed": AskError("a question is a JSON object").as_dict()}
        except RoadsteadError as error:
            answer = {"failed": error.as_dict()}
        self._respond(peer, answer)

    def _respond(self, peer: Peer, answer: dict[str, Any]) -> None:
        for path in answer.pop("open", ()):
            with suppress(OSError):
                peer.files.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        peer.answer = json.dumps(answer).encode() + b"\n"
        self._reactor.watch(peer.sock.fileno(), lambda _mask: self._write(peer), WRITE)
        self._write(peer)

    def _write(self, peer: Peer) -> None:
        try:
            sent = peer.sock.sendmsg([peer.answer], rights(peer.files))
        except BlockingIOError:
            return
        except OSError:
            sent = len(peer.answer)
        peer.answer = peer.answer[sent:]
        peer.close_files()
        if not peer.answer:
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        number = peer.sock.fileno()
        if number >= 0:
            self._reactor.unwatch(number)
            self._peers.pop(number, None)
            peer.close_files()
            peer.sock.close()


def credentials(sock: socket.socket) -> tuple[int, set[int]]:
    """The peer's uid, and its groups, supplementary ones too. More groups than fit count as none of them."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, gid = struct.unpack("iII", data)
    try:
        more = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_GROUPS_BYTES)
    except OSError:
        more = b""
    return int(uid), {int(gid), *struct.unpack(f"{len(more) // 4}I", more)}


def rights(files: list[int]) -> list[tuple[int, int, bytes]]:
    """Descriptors, as sendmsg wants them."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(files)}i", *files))] if files else []
