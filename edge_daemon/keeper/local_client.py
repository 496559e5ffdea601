"""Asking the running daemon on this host, for `edge-daemon status | ps | logs | events`."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_daemon.keeper.errors import ActError, AskError, NotAllowedError, NotRunningError
from edge_daemon.layout import Layout

MAX_ANSWER = 16 * 1024 * 1024
MOST_FILES = 2


def ask(run_dir: Path, request: dict[str, Any], *, timeout: float = 5.0) -> dict[str, Any]:
    """The daemon's answer to one request. Raises a RoadsteadError when there is none, or it is a refusal.

    * `{"ask": "top"}`: as `ps`; each container that was sampled carries `sampled_boottime` in seconds
    * `{"ask": "status"}`: `{"report": Reported, "connected", "why_not_connected", "pending_events"}`
    * `{"ask": "ps"}`: `{"containers": [ReportedService and its app, release, revision]}`
    * `{"ask": "events", "count": 50}`: `{"events": [Event and whether the server has it: "sent"]}`, oldest first
    * `{"ask": "logs", "app": A, "service": S}`: `{"path": file, "service"}`; see `ask_for_files`
    * `{"ask": "rollback" | "lift", "app": A}`, `{"ask": "hold", "app": A, "seconds": n}` (0 ends it): `{"app", "done"}`
    * `{"ask": "modules"}`: `{"modules": [...], "pid"}`; what is loaded, for the footprint's test
    """
    answer, files = ask_for_files(run_dir, request, timeout=timeout)
    for file in files:
        os.close(file)
    return answer


def ask_for_files(run_dir: Path, request: dict[str, Any], *, timeout: float = 5.0) -> tuple[dict[str, Any], list[int]]:
    """The same, with the descriptors that came along: of `logs`, the container's log and the one before it, as far as
    they are there. The caller closes them."""
    path = str(Layout(run_dir, run_dir).socket)
    files: list[int] = []
    try:
        return _asked(path, request, timeout, files), files
    except BaseException:
        for file in files:
            os.close(file)
        raise


def _asked(path: str, request: dict[str, Any], timeout: float, files: list[int]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            with short_path(path) as address:
                _connect(sock, address, timeout)
            sock.sendall(json.dumps(request).encode() + b"\n")
            data = _all(sock, files)
        except PermissionError as error:
            raise _not_allowed(path) from error
        except (FileNotFoundError, ConnectionError) as error:
            raise NotRunningError("it does not run", element=path, hint="start it: edge-daemon run") from error
        except TimeoutError as error:
            raise NotRunningError(f"no answer within {timeout:.0f} s", element=path, retry=True) from error
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise AskError("its answer is not JSON", element=path) from error
    if not isinstance(answer, dict):
        raise AskError("its answer is not an object", element=path)
    if isinstance(failed := answer.get("failed"), dict):
        kinds = {kind.code: kind for kind in (NotAllowedError, ActError)}
        kind = kinds.get(str(failed.get("code")), AskError)
        element, hint = str(failed.get("element") or ""), str(failed.get("hint") or "")
        raise kind(str(failed.get("reason")), element=element, hint=hint)
    return answer


@contextmanager
def short_path(path: str) -> Iterator[str]:
    """The same file under a name that fits into a socket's address (108 bytes), however deep the directory is."""
    if len(os.fsencode(path)) < 100:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def _connect(sock: socket.socket, address: str, timeout: float) -> None:
    """A full queue of askers is waited for; the kernel says it at once where it would make TCP wait."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            sock.connect(address)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            time.sleep(0.02)
        else:
            return


def _all(sock: socket.socket, files: list[int]) -> bytes:
    parts: list[bytes] = []
    while len(parts) * 65536 <= MAX_ANSWER:
        part, given, _, _ = socket.recv_fds(sock, 65536, MOST_FILES)
        files += given
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def _not_allowed(path: str) -> NotAllowedError:
    try:
        group = _group_name(os.stat(path).st_gid)
    except OSError:
        group = ""
    if not group:
        return NotAllowedError("only root may ask", element=path, hint="run it as root")
    hint = f"run it as root, or have yourself added: usermod -aG {group} USER, then log in anew"
    return NotAllowedError(f"only root and members of the group {group} may ask", element=path, hint=hint)


def _group_name(gid: int) -> str:
    """Of a group that is not root's; its number where it has no name."""
    if gid == 0:
        return ""
    import grp  # here: the keeper imports this module, and has no use for it

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
