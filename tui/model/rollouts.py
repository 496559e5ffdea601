"""Rollouts as operators read them: RolloutView and its parts, made small and safe. Pure."""

from __future__ import annotations

from typing import NamedTuple

from fleet_protocol.wire.bounds import MAX_INTEGER
from tui.model.rows import Json, mapping_of, number_of, rows_of, text_of

OPEN = frozenset({"planned", "running", "paused", "reverting"})
COUNTS = (
    "waiting", "updating", "proving", "healthy", "failed", "inconclusive", "deferred", "reverting", "reverted",
    "left_out",
)  # fmt: skip


class Because(NamedTuple):
    """Why something is as it is; `until`: when it is looked at again by itself, 0: something must happen."""

    code: str
    text: str
    until: int


class Gate(NamedTuple):
    """One measurement of a wave."""

    text: str
    state: str
    value: float | None
    limit: float | None
    history: tuple[float, ...]
    said: str


class Wave(NamedTuple):
    """One step in numbers."""

    name: str
    state: str
    size: int
    counts: dict[str, int]
    gates: tuple[Gate, ...]
    why: tuple[Because, ...]
    passed_at: int

    @property
    def done(self) -> int:
        """Judged, one way or the other."""
        return sum(self.counts[k] for k in ("healthy", "failed", "inconclusive", "reverted"))


class Failing(NamedTuple):
    """Devices of a rollout with one cause."""

    cause: Because
    devices: int
    example: str


class Rollout(NamedTuple):
    """One release on its way to the devices of a fleet."""

    ident: str
    app: str
    release: str
    state: str
    reason: str
    by: str
    started: int
    ended: int
    devices: int
    done: int
    failed: int
    deferred: int
    waves: tuple[Wave, ...]
    causes: tuple[Failing, ...]
    next: tuple[Because, ...]
    fleet: str = ""

    @property
    def title(self) -> str:
        """`gw 1.9.0`."""
        return f"{self.app} {self.release}"

    @property
    def at_wave(self) -> int:
        """The number, from 1, of the first wave that has not passed."""
        waiting = (n for n, wave in enumerate(self.waves, 1) if wave.state != "passed")
        return next(waiting, len(self.waves))


def rollout(view: Json) -> Rollout:
    """From a RolloutView; a list's shorter view gives empty waves."""
    return Rollout(
        ident=text_of(view.get("rollout_id")),
        app=text_of(view.get("app")),
        release=text_of(view.get("release")),
        state=text_of(view.get("state")) or "planned",
        reason=text_of(view.get("reason")),
        by=text_of(view.get("by")),
        started=number_of(view.get("started_at")),
        ended=number_of(view.get("ended_at")),
        devices=number_of(view.get("devices")),
        done=number_of(view.get("done")),
        failed=number_of(view.get("failed")),
        deferred=number_of(view.get("deferred")),
        waves=tuple(_wave(w) for w in rows_of(view.get("waves"))),
        causes=tuple(
            Failing(_because(mapping_of(c.get("cause"))), number_of(c.get("devices")), text_of(c.get("example")))
            for c in rows_of(view.get("causes"))
        ),
        next=tuple(_because(c) for c in rows_of(view.get("next"))),
        fleet=text_of(view.get("fleet")),
    )


def _wave(view: Json) -> Wave:
    return Wave(
        name=text_of(view.get("name")),
        state=text_of(view.get("state")) or "waiting",
        size=number_of(view.get("size")),
        counts={name: number_of(view.get(name)) for name in COUNTS},
        gates=tuple(_gate(g) for g in rows_of(view.get("gates"))),
        why=tuple(_because(c) for c in rows_of(view.get("why"))),
        passed_at=number_of(view.get("passed_at")),
    )


def _gate(view: Json) -> Gate:
    history = view.get("history")
    return Gate(
        text=text_of(view.get("text")),
        state=text_of(view.get("state")) or "unmeasured",
        value=_measured(view.get("value")),
        limit=_measured(view.get("limit")),
        history=tuple(n for v in (history if isinstance(history, list) else ()) if (n := _measured(v)) is not None),
        said=text_of(view.get("said")),
    )


def _measured(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_INTEGER:
        return None
    return float(value)


def _because(view: object) -> Because:
    cause = mapping_of(view)
    return Because(text_of(cause.get("code")), text_of(cause.get("text")), number_of(cause.get("until")))
