"""Learning at once that a container ended: the descriptors that become readable then, in the keeper's reactor."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial

from edge_daemon.keeper.clock import boottime
from edge_daemon.keeper.ports import Runtime, Seen
from edge_daemon.keeper.reactor import Reactor

AFTER_END = (0.05, 0.3, 1.2)  # conmon writes the exit code a little after the end

Key = tuple[str, str]


class Ends:
    """One descriptor for each running container; `look_at` is told when to look again."""

    def __init__(self, runtime: Runtime, reactor: Reactor, look_at: Callable[[float], None]) -> None:
        self._runtime = runtime
        self._reactor = reactor
        self._look_at = look_at
        self._handles: dict[Key, tuple[int, int]] = {}  # (pid, descriptor)

    def watch(self, observed: list[Seen], busy: Collection[Key]) -> None:
        """Follow what was observed; what a child process is at work on is left to it."""
        present = {(one.app, one.service): one.pid for one in observed if one.pid is not None}
        for key, (pid, _) in list(self._handles.items()):
            if present.get(key) != pid:
                self._unwatch(key)
        for key, pid in present.items():
            if key not in self._handles and key not in busy:
                descriptor = self._runtime.end_handle(*key)
                if descriptor is None:
                    self._look_at(boottime() + AFTER_END[-1])
                    continue
                self._handles[key] = (pid, descriptor)
                self._reactor.watch(descriptor, partial(self._end, key))

    def _end(self, key: Key, _mask: int) -> None:
        self._unwatch(key)
        now = boottime()
        for after in (0.0, *AFTER_END):
            self._look_at(now + after)

    def _unwatch(self, key: Key) -> None:
        _, descriptor = self._handles.pop(key)
        self._reactor.unwatch(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        """Let go of the containers; they run on."""
        for key in list(self._handles):
            self._unwatch(key)
