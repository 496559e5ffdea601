"""The thread that reads a source, and goes on doing so whatever happens to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fleet_client.http import ServerNotTrustedError, ServerSaidError
from fleet_protocol.wire.errors import RoadsteadError
from tui.model.link import Link
from tui.model.text import safe
from tui.model.world import Batch
from tui.source.api import Source, Wants

Heard = Callable[[Link, Batch | None], object]
FINAL_RETRY_S = 5.0


class Feed(threading.Thread):
    """Reads until it is stopped. `make` connects: it may raise RoadsteadError, and is tried again."""

    def __init__(self, make: Callable[[], Source], heard: Heard, now: Callable[[], float]) -> None:
        super().__init__(name="feed", daemon=True)
        self._make, self._heard, self._now = make, heard, now
        self._wants = Wants()
        self._awake, self._stopped = threading.Event(), threading.Event()
        self.link = Link()

    def want(self, wants: Wants) -> None:
        """What is looked at now; read at once."""
        if wants != self._wants:
            self._wants = wants
            self._awake.set()

    def poke(self) -> None:
        """Read now."""
        self._awake.set()

    def stop(self) -> None:
        """End soon; does not wait for a server that does not answer."""
        self._stopped.set()
        self._awake.set()

    def run(self) -> None:
        """Until `stop`."""
        source: Source | None = None
        try:
            while not self._stopped.is_set():
                self._awake.clear()
                try:
                    source = source or self._make()
                    batch = source.read(self._wants)
                except RoadsteadError as error:
                    pause = self._lost(error)
                else:
                    self.link = self.link.live(self._now())
                    self._tell(batch)
                    pause = source.pause_s()
                self._awake.wait(pause)
        finally:
            if source is not None:
                source.close()

    def _lost(self, error: RoadsteadError) -> float:
        """Seconds to wait. What the server refuses is not cured by asking often."""
        final = isinstance(error, ServerNotTrustedError) or (isinstance(error, ServerSaidError) and error.status < 500)
        self.link = self.link.lost(self._now(), safe(error.reason), final=final)
        self._tell(None)
        return FINAL_RETRY_S if final else self.link.retry_in()

    def _tell(self, batch: Batch | None) -> None:
        if not self._stopped.is_set():
            self._heard(self.link, batch)
