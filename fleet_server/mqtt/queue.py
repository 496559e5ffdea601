"""Which devices' desired states wait to be published, each at most once, and how fast that may go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

AGAIN_S = 30.0
AGAIN_REFUSED_S = 3600.0


class DesiredQueue:
    """Filled from any thread, emptied by the link's. `wake` is called when there is something new."""

    def __init__(self, *, per_second: float = 500.0, burst: int = 100) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}
        self._answered: dict[str, float] = {}
        self._asking: dict[str, None] = {}
        self._rate, self._burst = per_second, float(burst)
        self._left, self._at = float(burst), 0.0
        self.wake: Callable[[], None] = lambda: None

    def put(self, device_ids: Iterable[str]) -> None:
        """Publish these when their turn comes."""
        with self._lock:
            for device_id in device_ids:
                self._waiting[device_id] = None
        self.wake()

    def put_if_due(self, device_id: str, now: float, *, refused: bool) -> bool:
        """The same for a device that names something else than what is desired; not more often than makes sense."""
        with self._lock:
            at = self._answered.get(device_id)
            if at is not None and now - at < (AGAIN_REFUSED_S if refused else AGAIN_S):
                return False
            self._answered[device_id] = now
            self._waiting[device_id] = None
        return True

    def in_step(self, device_id: str) -> None:
        """The device names what is desired; the next difference is answered at once."""
        with self._lock:
            self._answered.pop(device_id, None)

    def take(self, at_most: int, now: float) -> list[str]:
        """The next ones, oldest first, as many as the pace allows."""
        with self._lock:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
            self._at = now
            count = max(0, min(at_most, int(self._left), len(self._waiting)))
            out = list(self._waiting)[:count] if count < len(self._waiting) else list(self._waiting)
            for device_id in out:
                del self._waiting[device_id]
            self._left -= len(out)
        return out

    def ask(self, device_ids: Iterable[str]) -> None:
        """Have these devices look for withdrawals now; those that are away look within a day."""
        with self._lock:
            for device_id in device_ids:
                self._asking[device_id] = None
        self.wake()

    def take_asking(self, at_most: int) -> list[str]:
        """Whom to ask next."""
        with self._lock:
            out = list(self._asking)[: max(0, at_most)]
            for device_id in out:
                del self._asking[device_id]
        return out

    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return len(self._waiting)
