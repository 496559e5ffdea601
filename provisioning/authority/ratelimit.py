"""How often one address may try: a token bucket for each, in a table of bounded size."""

from __future__ import annotations

from collections import OrderedDict


class RateLimit:
    """`burst` tries at once, then `per_second` on average, for each key; the longest unused key is forgotten first."""

    def __init__(self, per_second: float, burst: int, keys: int = 4096) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._keys = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tries left, when)

    def allows(self, key: str, now: float) -> bool:
        """Whether one more try is allowed now; if so, it is counted."""
        left, at = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - at) * self._rate)
        allowed = left >= 1.0
        self._buckets[key] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return allowed
