"""External programs: found in fixed places, run with a fixed small environment, bounded in time.

Built on posix_spawn, not subprocess, because the resident keeper imports it (subprocess costs 0.9 MB). Input and
output go through memory files, so nothing blocks on a pipe and a daemon that keeps its output open hangs nobody.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge_daemon.keeper.runtime.errors import RuntimeFailedError

FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
ENVIRONMENT = {"PATH": ":".join(FOLDERS), "LANG": "C.UTF-8"}
MAX_OUTPUT = 256 * 1024
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)


class Finished(NamedTuple):
    """How a program ended, and what it said."""

    status: int
    out: bytes
    err: bytes

    def words(self) -> str:
        """The last line of what it said, for a sentence."""
        lines = (self.err or self.out).decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else f"it ended with status {self.status} and said nothing"


def locate(name: str) -> str | None:
    """The absolute path of a program, or None."""
    if name.startswith("/"):
        return name if os.access(name, os.X_OK) else None
    return next((path for folder in FOLDERS if os.access(path := f"{folder}/{name}", os.X_OK)), None)


def find(name: str) -> str:
    """The absolute path of a program that must be there."""
    path = locate(name)
    if path is None:
        raise RuntimeFailedError(f"the program {name} is not installed", hint=f"install the package that holds {name}")
    return path


class Program:
    """One started program. `finish` must be called; it ends the program when its time is up."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> None:
        self.name = argv[0].rpartition("/")[2]
        self.deadline = time.monotonic() + seconds
        self.seconds = seconds
        given = os.memfd_create("stdin")
        self._said = [os.memfd_create("stdout"), os.memfd_create("stderr")]
        try:
            os.write(given, stdin)
            os.lseek(given, 0, os.SEEK_SET)
            self.pid = os.posix_spawn(
                find(argv[0]),
                list(argv),
                {**ENVIRONMENT, **(environment or {})},
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate((given, *self._said))],
                # Python ignores SIGPIPE, and an ignored signal stays ignored through exec, down to the container
                setsigdef=RESET_SIGNALS,
                setsigmask=[],
            )
        except OSError as error:
            self._close()
            raise RuntimeFailedError(f"{self.name} could not be started: {error.strerror}") from error
        except RuntimeFailedError:
            self._close()
            raise
        finally:
            os.close(given)

    def finish(self) -> Finished:
        """Wait for the end and give back what was said. Raises when the time is up, after killing it."""
        try:
            handle = os.pidfd_open(self.pid)
            try:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                left = max(0.0, self.deadline - time.monotonic())
                ended = bool(poll.poll(int(left * 1000) + 1))
            finally:
                os.close(handle)
            if not ended:
                os.kill(self.pid, signal.SIGKILL)
            _, raw = os.waitpid(self.pid, 0)
            if not ended:
                raise RuntimeFailedError(f"{self.name} did not end within {self.seconds:.0f} s", retry=True)
            return Finished(os.waitstatus_to_exitcode(raw), *(_content(fd) for fd in self._said))
        finally:
            self._close()

    def _close(self) -> None:
        for fd in self._said:
            os.close(fd)
        self._said = []


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    seconds: float = 10.0,
) -> Finished:
    """Start a program and wait for it."""
    return Program(argv, stdin=stdin, environment=environment, seconds=seconds).finish()


def _content(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, MAX_OUTPUT)
