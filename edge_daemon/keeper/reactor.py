"""The one place where the keeper waits: file descriptors with what to call when they are ready."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Callable
from contextlib import suppress

Ready = Callable[[int], None]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
LONGEST_WAIT = 60.0


class Reactor:
    """A selector. Callbacks get the ready mask; each must return soon."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, fd: int, ready: Ready, mask: int = READ) -> None:
        """Call `ready` whenever `fd` is; watching again changes mask and callback."""
        if fd in self._selector.get_map():
            self._selector.modify(fd, mask, ready)
        else:
            self._selector.register(fd, mask, ready)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, before it is closed. Unknown ones are no error."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def turn(self, timeout: float) -> None:
        """Wait at most `timeout` seconds and call what became ready."""
        for key, mask in self._selector.select(max(0.0, min(timeout, LONGEST_WAIT))):
            if self._selector.get_map().get(key.fd) is not key:
                continue  # an earlier callback of this turn closed it, perhaps for another file with its number
            key.data(mask)

    def close(self) -> None:
        """Close the selector itself; watched descriptors belong to those who opened them."""
        self._selector.close()


class Signals:
    """Signals as readable bytes, so that they wake the selector."""

    def __init__(self, reactor: Reactor, numbers: tuple[int, ...]) -> None:
        self.caught: set[int] = set()
        self._reactor = reactor
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = {number: signal.signal(number, _nothing) for number in numbers}
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        reactor.watch(self._reading, self._drain)

    def _drain(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            self.caught |= set(os.read(self._reading, 4096))

    def close(self) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reactor.unwatch(self._reading)
        os.close(self._reading)
        os.close(self._writing)


def _nothing(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the number; this only keeps the default action away."""
