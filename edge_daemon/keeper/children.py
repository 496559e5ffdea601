"""Child processes whose output lines and end arrive through the reactor. posix_spawn: subprocess would cost 0.9 MB."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from edge_daemon.keeper.clock import NEVER
from edge_daemon.keeper.reactor import Reactor

MAX_LINE = 64 * 1024
KILL_AFTER = 10.0
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)

OnLine = Callable[[bytes], None]
OnEnd = Callable[[int], None]


class Child:
    """One running child. `silence` and `deadline` end it: SIGTERM first, SIGKILL to its group ten seconds later."""

    def __init__(self, pid: int, pipe: int, on_line: OnLine, on_end: OnEnd) -> None:
        self.pid = pid
        self.pipe = pipe
        self.on_line = on_line
        self.on_end = on_end
        self.silence = NEVER
        self.quiet_until = NEVER
        self.deadline = NEVER
        self.kill_at = NEVER
        self.ended_by_us = False
        self.buffer = b""
        self.skipping = False  # in a line longer than MAX_LINE


class Children:
    """All of them. `reap` is called when SIGCHLD came, `step` on every turn."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._running: dict[int, Child] = {}

    def spawn(
        self,
        argv: list[str],
        on_line: OnLine,
        on_end: OnEnd,
        *,
        now: float,
        deadline: float = NEVER,
        silence: float = NEVER,
    ) -> Child:
        """Start it: nothing on standard input, a process group of its own, our standard error. May raise OSError."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        try:
            pid = os.posix_spawnp(
                argv[0], argv, os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=RESET_SIGNALS,
            )  # fmt: skip
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        child = Child(pid, reading, on_line, on_end)
        child.silence, child.quiet_until, child.deadline = silence, now + silence, now + deadline
        self._running[pid] = child
        self._reactor.watch(reading, lambda _mask: self._read(child))
        return child

    def end(self, child: Child, now: float) -> None:
        """Ask it to end; it is killed if it does not."""
        if child.pid in self._running and child.kill_at == NEVER:
            child.ended_by_us = True
            child.kill_at = now + KILL_AFTER
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)

    def reap(self) -> None:
        """Tell the ends. Only children of this object are waited for."""
        for child in list(self._running.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            # What it left in the pipe is its last word; a grandchild may hold the pipe open, so its end is not awaited.
            self._read(child)
            del self._running[child.pid]
            self._close(child)
            child.on_end(os.waitstatus_to_exitcode(status))

    def step(self, now: float) -> float:
        """End what is overdue. When to look again."""
        due = NEVER
        for child in list(self._running.values()):
            if child.kill_at <= now:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.kill_at = now + KILL_AFTER
            elif min(child.deadline, child.quiet_until) <= now:
                self.end(child, now)
                child.deadline = child.quiet_until = NEVER
            due = min(due, child.kill_at, child.deadline, child.quiet_until)
        return due

    def heard(self, child: Child, now: float) -> None:
        """Its silence begins anew."""
        child.quiet_until = now + child.silence

    def _read(self, child: Child) -> None:
        while child.pipe >= 0:
            try:
                data = os.read(child.pipe, 65536)
            except BlockingIOError:
                return
            if not data:
                self._close(child)
                return
            *lines, rest = (child.buffer + data).split(b"\n")
            for line in lines:
                if not child.skipping:
                    child.on_line(line)
                child.skipping = False
            if len(rest) > MAX_LINE:
                rest, child.skipping = b"", True
            child.buffer = rest

    def _close(self, child: Child) -> None:
        if child.pipe >= 0:
            self._reactor.unwatch(child.pipe)
            os.close(child.pipe)
            child.pipe = -1
