"""How a plan would reach its devices: the waves, who would wait for what, how long it takes. Nothing is kept of it.

The engine is started over the facts of this moment and thrown away, so the plan says what the rollout would do.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleet_protocol.documents.fleet import Blocked, DevicePlan, Plan, PlannedRollout, PlannedWave
from fleet_protocol.documents.rollout import Cause, RolloutSpec, WindowSpec
from fleet_server.controller.desk import new_live
from fleet_server.controller.known import Known
from fleet_server.controller.live import Live
from fleet_server.plan_world import Brings, Computed
from fleet_server.rollout import why
from fleet_server.rollout.facts import Act, Verb
from fleet_server.rollout.state import Phase

MAX_NAMES = 1000
OF_THE_ROLLOUT = frozenset({"wave", "turn", "rate", "parallel", "budget"})
"""What a device waits for because of its rollout; everything else is its own."""


def with_rollouts(
    computed: Computed, known: Mapping[str, Known], pins: Mapping[tuple[str, str], str], now: int
) -> Plan:
    """The plan with its rollouts."""
    plans = {d.device_id: d for d in computed.plan.devices}
    rollouts = tuple(_planned(brings, computed.plan, plans, known, pins, now) for brings in computed.brings)
    return computed.plan.model_copy(update={"rollouts": rollouts})


def _planned(
    brings: Brings,
    plan: Plan,
    plans: Mapping[str, DevicePlan],
    known: Mapping[str, Known],
    pins: Mapping[tuple[str, str], str],
    now: int,
) -> PlannedRollout:
    live = new_live(brings, plan.world, now)
    shown = [live.facts(known[name], brings.facts) for name in brings.devices if name in known]
    asked = [Verb(1, Act.START, "plan")]
    app = live.change.app
    pinned = [name for name in brings.devices if (name, app) in pins]
    asked += [Verb(2 + i, Act.PIN, "", name, reason=pins[name, app]) for i, name in enumerate(pinned)]
    live.engine.decide(now, shown, asked=asked)
    changes = [c for name in brings.devices for c in plans[name].changes if c.app == app]
    spec = live.change.spec
    return PlannedRollout(
        rollout_id=brings.joins or live.rollout_id,
        joins=bool(brings.joins),
        fleet=brings.fleet.name,
        app=app,
        version=live.change.version,
        before=brings.before,
        devices=len(brings.devices),
        download_bytes=sum(c.download_bytes for c in changes),
        disk_bytes=sum(c.disk_bytes for c in changes),
        waves=_waves(live),
        window=window_words(spec.install_window),
        expected_s=expected(live),
        causes=why.grouped(live.engine, now)[:50],
        blocked=tuple(_blocked(live, now)),
    )


def _waves(live: Live) -> tuple[PlannedWave, ...]:
    members, out = live.engine.members, []
    for number, wave in enumerate(live.change.spec.waves):
        names = sorted(members.of_wave[number])
        out.append(PlannedWave(name=wave.name, devices=len(names), names=tuple(names[:MAX_NAMES])))
    return tuple(out)


def _blocked(live: Live, now: int) -> list[Blocked]:
    out = []
    for device_id, record in sorted(live.engine.members.records.items()):
        if record.phase not in (Phase.QUEUED, Phase.LEFT_OUT):
            continue
        cause = own_cause(live, device_id, now)
        if cause is not None:
            out.append(Blocked(device_id=device_id, cause=cause))
        if len(out) >= MAX_NAMES:
            break
    return out


def own_cause(live: Live, device_id: str, now: int) -> Cause | None:
    """What the device waits for itself, as if its wave were open."""
    record = live.engine.members.records[device_id]
    forced, wave = record.forced, live.engine.rollout.waves[record.wave]
    state = wave.state
    try:
        wave.state = type(state).OPEN
        first = why.why(live.engine, device_id, now).chain[0]
    finally:
        wave.state, record.forced = state, forced
    return None if first.code in OF_THE_ROLLOUT else first


def expected(live: Live) -> int | None:
    """Seconds, when every device that is there does it in its health window; None: people or windows decide."""
    spec, members = live.change.spec, live.engine.members
    if spec.install_window is not None or any(w.approval is not None for w in spec.waves):
        return None
    one = live.change.window_s + spec.min_healthy_s + 30
    total = 0
    for number, wave in enumerate(spec.waves):
        size = len(members.of_wave[number])
        if not size:
            continue
        total += max(_rounds(spec, members.parallel_limit(), size) * one, _rated(spec, size) + one)
        total += wave.soak_s if wave.soak_s is not None else spec.soak_s
        total += max((g.every_s * (g.count - 1) for g in spec.gates), default=0)
    return total


def _rounds(spec: RolloutSpec, parallel: int | None, size: int) -> int:
    budgets = [b.max_unavailable.devices for b in spec.budgets if b.per is None and b.max_unavailable is not None]
    limits = [n for n in (parallel, *budgets) if n]
    return -(-size // min(limits)) if limits else 1


def _rated(spec: RolloutSpec, size: int) -> int:
    return 0 if spec.rate is None else 60 * (size // spec.rate.per_minute)


def window_words(window: WindowSpec | None) -> str:
    """`0 22 * * * for 6 h, the device's time`, or nothing."""
    if window is None:
        return ""
    hours = f"{window.for_s / 3600:g} h" if window.for_s >= 3600 else f"{window.for_s // 60} min"
    return f"{window.cron} for {hours}, {window.zone or 'the time of each device'}"
