"""The device's own verdict on a revision of an app, for reports, rollouts and people: bounded, and plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from edge_daemon.keeper.figures import Figures, known_only
from edge_daemon.keeper.judge import Trial
from edge_daemon.keeper.records import ServiceRow
from fleet_protocol.wire.errors import inert

MOST_REASON_BYTES = 160
"""`why` of the app says it in full."""


class Counts(NamedTuple):
    """What happened in one revision, all its services together."""

    restarts: int = 0
    oom_kills: int = 0
    exits: int = 0  # ends that nobody asked for
    failed_probes: int = 0  # times that a probe made a container unhealthy


class Standing(NamedTuple):
    """How a revision stands on this host."""

    state: str  # trial | good | inconclusive | bad | failed | held
    reason: str
    revision: str
    window_s: int
    counts: Counts
    code: str = ""
    now: Figures | None = None  # of this revision
    before: Figures | None = None  # of the last good before it


def counts(trial: Trial | None, rows: Iterable[ServiceRow]) -> Counts:
    """From what was seen just now, or from the notes alone."""
    if trial is None:
        noted = [(row.restarts, row.oom_kills, row.exits, row.failed_probes) for row in rows]
    else:
        noted = [(one.restarts, one.oom_kills, one.exits, one.failed_probes) for one in trial.services]
    return Counts(*(sum(column) for column in zip(*noted, strict=True)))


def reported(standing: Standing) -> dict[str, Any]:
    """One `fleet_protocol.documents.device.Verdict`; what is not known is left out."""
    out: dict[str, Any] = {
        "state": standing.state,
        "reason": cut(inert(standing.reason), MOST_REASON_BYTES),
        "window_s": standing.window_s,
        **standing.counts._asdict(),
    }
    optional = {
        "code": standing.code,
        "revision": standing.revision,
        "now": known_only(standing.now) if standing.now is not None else {},
        "before": known_only(standing.before) if standing.before is not None else {},
    }
    return out | {key: value for key, value in optional.items() if value}


def cut(text: str, most_bytes: int) -> str:
    """At most so many bytes of UTF-8, no character in part."""
    return text.encode()[:most_bytes].decode(errors="ignore")
