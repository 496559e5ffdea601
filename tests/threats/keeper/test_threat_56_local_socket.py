"""Row 56: a local user who is not root talks to the daemon's socket."""

from __future__ import annotations

import os
import socket
import stat
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from keeper_support import Host

from edge_daemon.keeper.errors import AskError, NotAllowedError
from edge_daemon.keeper.local_client import ask


def test_threat_56_local_socket_is_closed_to_others_by_its_mode(edge: Host) -> None:
    edge.keeper.start().ask(ask="status")
    assert stat.S_IMODE(edge.layout.socket.stat().st_mode) == 0o600
    edge.layout.run.parent.chmod(0o755)
    edge.layout.run.chmod(0o755)

    def other() -> None:
        with pytest.raises(NotAllowedError, match="only root may ask"):
            ask(edge.layout.run, {"ask": "status"})

    _as_user(1000, other)


def test_threat_56_local_socket_asks_the_kernel_who_the_peer_is_also_when_the_mode_was_widened(edge: Host) -> None:
    edge.keeper.start().ask(ask="status")
    for folder in (edge.layout.run.parent, edge.layout.run):
        folder.chmod(0o755)
    edge.layout.socket.chmod(0o666)

    def other() -> None:
        for question in ("status", "ps", "events", "logs", "modules"):
            with pytest.raises(NotAllowedError, match="only root may ask"):
                ask(edge.layout.run, {"ask": question})

    _as_user(1000, other)
    assert edge.keeper.ask(ask="status")["connected"] is False


def test_threat_56_local_socket_survives_junk_silence_and_crowds(edge: Host) -> None:
    edge.keeper.start().ask(ask="status")
    with ExitStack() as crowd:
        for junk in [b"\n", b"[]\n", b"{", b"x" * 9000, b'{"ask": []}\n', b"\xff\n"] * 5:
            sock = crowd.enter_context(_connect(edge))
            with suppress(OSError):  # the oldest of a crowd are parted with
                sock.send(junk)

        assert edge.keeper.ask(ask="ps") == {"containers": []}


def test_threat_56_local_socket_says_what_it_knows(edge: Host) -> None:
    edge.keeper.start().ask(ask="status")
    with pytest.raises(AskError, match="knows status, ps"):
        ask(edge.layout.run, {"ask": "exec", "argv": ["id"]})


def _connect(edge: Host) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(edge.layout.socket))
    return sock


def _as_user(uid: int, do: Callable[[], None]) -> None:
    """In a child process that has given up root."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
