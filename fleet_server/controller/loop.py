"""The one thread that turns rollouts: woken by what is heard, by the clock, and once a minute in any case."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fleet_protocol.wire.errors import RoadsteadError
from fleet_server.controller.controller import Controller
from fleet_server.controller.desk import Desk

AT_MOST_S = 60.0
TOGETHER_S = 0.1
"""What comes within this time is looked at together."""
AFTER_ERROR_S = 5.0

log = logging.getLogger("roadstead.rollouts")


class RolloutLoop(threading.Thread):
    """Start it once; `stop` ends it."""

    def __init__(self, controller: Controller, desk: Desk, clock: Callable[[], float]) -> None:
        super().__init__(name="rollouts", daemon=True)
        self._controller, self._desk, self._clock = controller, desk, clock
        self._news = threading.Event()
        self._stopping = threading.Event()
        controller.wake = self._news.set

    def run(self) -> None:
        """Until stopped. An error ends one look, not the thread."""
        while not self._stopping.is_set():
            self._news.clear()
            try:
                wait = self._once()
            except RoadsteadError as error:
                log.error("%s", error)  # noqa: TRY400 (the sentence says it all)
                wait = AFTER_ERROR_S
            except Exception:  # a dead thread would be silence; a full disk, or a defect, is said and tried again
                log.exception("the rollouts could not be looked at")
                wait = AFTER_ERROR_S
            self._news.wait(wait)
            self._stopping.wait(TOGETHER_S)

    def stop(self) -> None:
        """End it, after the look that is under way."""
        self._stopping.set()
        self._news.set()
        self.join(timeout=30)
        self._controller.wake = lambda: None

    def _once(self) -> float:
        now = int(self._clock())
        times = [self._desk.expire_pins(now), self._controller.tick(now)]
        due = min((at for at in times if at is not None), default=now + AT_MOST_S)
        return max(0.0, min(AT_MOST_S, due - self._clock()))
