"""Row 56: a local user who is not root talks to the daemon's socket."""

from __future__ import annotations

import grp  # noqa: F401  loaded before a child gives up the right to read this Python
import os
import socket
import stat
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import pytest
from keeper_support import Host

from edge_daemon.keeper.errors import AskError, NotAllowedError
from edge_daemon.keeper.local_client import ask, ask_for_files

GROUP = 54321  # no name on any host: members are known by number


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


def _with_group(edge: Host, **environment: str) -> None:
    """Keeper with a group whose members may look; its directories let others pass, as those of a real host do."""
    edge.keeper.environment = {"STANDIN_GID": str(GROUP), **environment}
    edge.online()
    edge.command("shop", "web", "sh", "-c", "echo hello; sleep 1000")
    edge.apply({"shop": {"release": "1.0", "services": ["web"]}})
    folder = edge.layout.logs / "shop" / "web"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ctr.log").write_text("2026-03-01T12:00:00.1Z stdout F hello\n")
    for path in (edge.layout.run.parent, edge.layout.run):
        path.chmod(0o711)
    edge.layout.logs.chmod(0o700)


@pytest.mark.parametrize(("gid", "more"), [(GROUP, []), (1000, [7, GROUP])], ids=["primary", "supplementary"])
def test_threat_56_members_of_the_group_look_and_change_nothing(edge: Host, gid: int, more: list[int]) -> None:
    _with_group(edge)
    status = edge.layout.socket.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o660, 0, GROUP)

    def member() -> None:
        for question in ("status", "ps", "top", "events"):
            ask(edge.layout.run, {"ask": question})
        told, files = ask_for_files(edge.layout.run, {"ask": "logs", "app": "shop", "service": "web"})
        assert told["service"] == "web"
        assert os.read(files[0], 100).endswith(b"hello\n")
        for act in ("rollback", "hold", "lift", "modules", "exec"):
            with pytest.raises(NotAllowedError, match="may look; only root may change anything"):
                ask(edge.layout.run, {"ask": act, "app": "shop", "seconds": 60})

    _as_user(1000, member, gid, more)
    assert edge.keeper.ask(ask="status")["report"]["apps"][0]["state"] != "held"


def test_threat_56_others_are_told_which_group_may_look(edge: Host) -> None:
    _with_group(edge)

    def other() -> None:
        with pytest.raises(NotAllowedError, match=f"only root and members of the group {GROUP} may ask"):
            ask(edge.layout.run, {"ask": "status"})

    _as_user(1000, other, 1000, [7])
    edge.layout.socket.chmod(0o666)

    def widened() -> None:
        with pytest.raises(NotAllowedError, match="only root and members of the socket's group may ask"):
            ask(edge.layout.run, {"ask": "status"})

    _as_user(1000, widened, 1000, [7])


def test_threat_56_members_act_where_the_daemon_was_started_to_let_them(edge: Host) -> None:
    _with_group(edge, STANDIN_MAY_CHANGE="yes")

    def member() -> None:
        done = ask(edge.layout.run, {"ask": "hold", "app": "shop", "seconds": 60})["done"]
        assert "is held" in done

    _as_user(1000, member, 1000, [GROUP])


def test_threat_56_files_that_come_along_cannot_be_steered_by_what_is_asked(edge: Host) -> None:
    _with_group(edge)
    for app, service in (("../..", "web"), ("shop", "../../identity"), ("shop", ""), ("shop", ["web"]), ("", "")):
        files: list[int] = []
        with suppress(AskError):
            _, files = ask_for_files(edge.layout.run, {"ask": "logs", "app": app, "service": service})
        named = {os.readlink(f"/proc/self/fd/{file}") for file in files}
        assert named <= {str(edge.layout.logs / "shop" / "web" / "ctr.log")}
        for file in files:
            os.close(file)
    secret = edge.layout.logs / "shop" / "web" / "ctr.log"
    secret.unlink()
    secret.symlink_to(edge.layout.device_key)
    _, files = ask_for_files(edge.layout.run, {"ask": "logs", "app": "shop", "service": "web"})
    assert files == []


def _connect(edge: Host) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(edge.layout.socket))
    return sock


def _as_user(uid: int, do: Callable[[], None], gid: int = 1000, groups: Sequence[int] = ()) -> None:
    """In a child process that has given up root."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
