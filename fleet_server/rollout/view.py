"""What operators read of a rollout: documents made from the engine's counters."""

from __future__ import annotations

from fleet_protocol.documents.rollout import GateView, RolloutView, WaveView
from fleet_server.rollout.engine import Engine
from fleet_server.rollout.state import WaveState
from fleet_server.rollout.why import grouped, rollout_causes


def view(engine: Engine, release: str, now: int, *, causes: bool = True) -> RolloutView:
    """`release`: the version that people read; `causes`: group what the devices wait for, too (one look at each)."""
    rollout, members = engine.rollout, engine.members
    waves = tuple(_wave(engine, number, now) for number in range(len(rollout.waves)))
    return RolloutView.model_validate(
        {
            "rollout_id": rollout.rollout_id,
            "app": rollout.app,
            "release": release,
            "state": rollout.state.value,
            "reason": rollout.reason[:400],
            "by": rollout.by,
            "started_at": rollout.started_at or None,
            "ended_at": rollout.ended_at or None,
            "devices": len(members.records),
            "done": members.total("healthy") + members.total("failed") + members.total("inconclusive"),
            "failed": members.total("failed"),
            "deferred": members.total("deferred"),
            "quarantined": rollout.quarantined,
            "waves": waves,
            "causes": grouped(engine, now)[:100] if causes else (),
            "next": rollout_causes(engine, now),
        }
    )


def _wave(engine: Engine, number: int, now: int) -> WaveView:
    wave, members = engine.rollout.waves[number], engine.members
    tally = members.tally[number]
    shown = tuple(
        GateView.model_validate(
            {
                "text": gate.text,
                "state": record.state,
                "value": record.value,
                "limit": record.limit,
                "successes": record.successes,
                "failures": record.failures,
                "inconclusive": record.inconclusive,
                "errors": record.errors,
                "history": tuple(v for _, v in record.history),
                "said": record.said[:400],
            }
        )
        for gate, record in zip(engine.spec.gates, wave.gates, strict=True)
    )
    under_way = wave.state in (WaveState.OPEN, WaveState.SOAKING)
    return WaveView.model_validate(
        {
            "name": wave.name,
            "state": wave.state.value,
            "size": len(members.of_wave[number]),
            **{category: tally[category] for category in CATEGORIES},
            "gates": shown,
            "why": rollout_causes(engine, now) if under_way else (),
            "passed_at": wave.passed_at or None,
        }
    )


CATEGORIES = (
    "waiting", "updating", "proving", "healthy", "failed", "inconclusive", "deferred", "reverting", "reverted",
    "left_out",
)  # fmt: skip
