"""What operators read of rollouts, quarantine and pins. Documents out of the engine's own counters and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_protocol.documents.rollout import RolloutView, WhyNot
from fleet_server.controller.change import version_of
from fleet_server.controller.desk import Desk
from fleet_server.controller.live import Live
from fleet_server.errors import NotFoundError
from fleet_server.rollout.view import view
from fleet_server.rollout.why import why
from fleet_server.store.api import Facts
from fleet_server.store.rollout_records import RolloutRow

HISTORY = 200


def rollout_view(desk: Desk, rollout_id: str, now: int) -> RolloutView:
    """One rollout. Raises NotFoundError."""
    return desk.reading(rollout_id, lambda live: _view(live, now, causes=True), now)


def all_views(desk: Desk, names: Sequence[str], now: int) -> list[RolloutView]:
    """These, the last first, without causes."""
    return [desk.reading(name, lambda live: _view(live, now, causes=False), now) for name in reversed(names)]


def why_not(desk: Desk, rollout_id: str, device_id: str, now: int) -> WhyNot:
    """Why a device is where it is. Raises NotFoundError."""

    def look(live: Live) -> WhyNot:
        if device_id not in live.engine.members.records:
            raise NotFoundError("it is no device of this rollout", element=device_id[:48])
        return why(live.engine, device_id, now)

    return desk.reading(rollout_id, look, now)


def devices(desk: Desk, rollout_id: str, now: int) -> list[dict[str, Any]]:
    """Every device of a rollout: wave, phase, first cause."""

    def look(live: Live) -> list[dict[str, Any]]:
        out = []
        for device_id, record in sorted(live.engine.members.records.items()):
            first = why(live.engine, device_id, now).chain[0]
            wave = live.engine.rollout.waves[record.wave].name
            out.append({"device_id": device_id, "wave": wave, "phase": str(record.phase), "why": first.text})
        return out

    return desk.reading(rollout_id, look, now)


def history(facts: Facts, row: RolloutRow) -> list[dict[str, Any]]:
    """What was asked and decided, in order of time."""
    decided = [
        {"at": d.at, "kind": d.kind, "element": d.element, "text": d.text}
        for d in facts.decisions(row.rollout_id, HISTORY)
    ]
    asked = [
        {"at": v.at, "kind": "asked", "element": v.device_id or v.wave, "text": f"{v.act} by {v.by} {v.reason}".strip()}
        for v in facts.verbs(row.rollout_id)
    ]
    return sorted([*asked, *decided], key=lambda said: said["at"])


def _view(live: Live, now: int, *, causes: bool) -> RolloutView:
    change = live.change
    made = view(live.engine, change.version, now, causes=causes)
    extra = {
        "fleet": change.fleet,
        "before": [version_of(text) for text in change.before],
        "created_at": live.row.created_at,
    }
    return made.model_copy(update=extra)
