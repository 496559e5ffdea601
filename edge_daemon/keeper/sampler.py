"""What the kernel says of each container, read at most once in a while: a report that is due for another reason costs
no reading. Each sample carries when it was taken.
"""

from __future__ import annotations

from typing import NamedTuple

from edge_daemon.keeper.ports import EnforcedLimits, Runtime, Seen, Usage


class Readings(NamedTuple):
    """What the kernel says of one container."""

    limits: EnforcedLimits
    usage: Usage
    at: int | None = None  # wall clock; None: nothing was read


class Sampler:
    """Samples of the containers that run."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[tuple[str, str], tuple[Seen, float, Readings]] = {}

    def read(self, seen: Seen, now: float, wall: int, *, at_most_every: float) -> Readings:
        """A sample of this run of a container, in this revision: what another left behind does not count."""
        key = (seen.app, seen.service)
        if (known := self._known.get(key)) is not None:
            before, taken, readings = known
            same = (before.start_ticks, before.revision) == (seen.start_ticks, seen.revision)
            if same and now < taken + at_most_every:
                return readings
        limits, usage = self._runtime.limits(*key), self._runtime.usage(*key)
        self._known[key] = (seen, now, Readings(limits, usage, wall))
        return self._known[key][2]

    def read_at(self, app: str, service: str) -> float | None:
        """When it was read, on the clock of `read`; None when it was not."""
        known = self._known.get((app, service))
        return known[1] if known is not None else None

    def keep(self, present: set[tuple[str, str]]) -> None:
        """Forget all others."""
        self._known = {key: known for key, known in self._known.items() if key in present}
