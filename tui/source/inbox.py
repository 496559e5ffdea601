"""What was read and is not on the screen yet: bounded by the size of the fleet, never by how often it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tui.model.rows import DeviceRow
from tui.model.world import Batch


class Inbox:
    """Newest state for each device; one wake-up outstanding."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake, self._lock = wake, threading.Lock()
        self._waiting: Batch | None = None

    def put(self, batch: Batch) -> None:
        """From the reading thread."""
        with self._lock:
            first = self._waiting is None
            self._waiting = batch if self._waiting is None else merged(self._waiting, batch)
        if first:
            self._wake()

    def take(self) -> Batch | None:
        """From the screen's."""
        with self._lock:
            batch, self._waiting = self._waiting, None
        return batch


def merged(old: Batch, new: Batch) -> Batch:
    """Both, the newer winning."""
    newest = {k: v if (v := getattr(new, k)) is not None else getattr(old, k) for k in
              ("fleets", "enrolments", "events", "rollouts", "details", "who")}  # fmt: skip
    if new.devices is not None:
        return Batch(devices=new.devices, changed=new.changed, gone=new.gone, **newest)
    rows: dict[str, DeviceRow] = {r.name: r for r in old.changed}
    rows |= {r.name: r for r in new.changed}
    for name in new.gone:
        rows.pop(name, None)
    gone = tuple({*old.gone, *new.gone} - rows.keys())
    return Batch(devices=old.devices, changed=tuple(rows.values()), gone=gone, **newest)
