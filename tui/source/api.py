"""Where the screens' data come from, as they see it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tui.model.actions import Act
from tui.model.world import Batch


class Wants(NamedTuple):
    """What is on the screen, beside what is always read."""

    page: str = "overview"
    about: str = ""
    device: str = ""  # whose details are shown


class Source(Protocol):
    """A server. Blocking; `read` is called by one thread, `do` by another. Both raise RoadsteadError."""

    def read(self, wants: Wants) -> Batch:
        """What is new."""
        ...

    def do(self, act: Act, target: str, reason: str) -> str:
        """Change something, once; says what was done."""
        ...

    def pause_s(self) -> float:
        """How long to wait before the next reading."""
        ...

    def close(self) -> None:
        """Ends what `read` waits for."""
        ...
