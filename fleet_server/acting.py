"""From where and why somebody acts: known at the door, written down by whoever records what was done."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Acting(NamedTuple):
    """Of the request under way; empty where the server acts by itself."""

    origin: str = ""  # an address
    why: str = ""  # in the person's own words


NOBODY = Acting()
acting: ContextVar[Acting] = ContextVar("acting", default=NOBODY)
