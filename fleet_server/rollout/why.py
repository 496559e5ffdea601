"""Why-not: for each device one causal chain, from what it waits for down to the root; for the fleet, grouped by cause.

Read from the same predicates that decide (`eligible`, `giving`, `progress`), so it cannot say something else.
"""

from __future__ import annotations

from collections import Counter

from fleet_protocol.documents.rollout import Cause, CauseGroup, WhyNot
from fleet_server.rollout import giving, progress
from fleet_server.rollout.eligible import Wait, waits
from fleet_server.rollout.engine import Engine
from fleet_server.rollout.facts import DeviceFacts
from fleet_server.rollout.observe import is_away, unmet
from fleet_server.rollout.state import DeviceRecord, Phase, State
from fleet_server.rollout.windows import FAR, Windows, local

MAX_TEXT = 400


def why(engine: Engine, device_id: str, now: int) -> WhyNot:
    """Raises KeyError for a device that is not of this rollout."""
    record, facts = engine.members.records[device_id], engine.members.facts[device_id]
    chain = _chain(engine, record, facts, now)
    return WhyNot(device_id=device_id, phase=record.phase.value, wave=_wave(engine, record), chain=tuple(chain))


def grouped(engine: Engine, now: int) -> tuple[CauseGroup, ...]:
    """All devices that are not well yet, by the first link of their chain; the largest group first."""
    counts: Counter[Cause] = Counter()
    example: dict[Cause, str] = {}
    known: dict[tuple[str, int, int | None], Cause] = {}
    for device_id, record in sorted(engine.members.records.items()):
        if record.phase in (Phase.HEALTHY, Phase.REVERTED):
            continue
        facts = engine.members.facts[device_id]
        wait = waits(engine, record, facts, now)
        # Thousands wait for the same wave: its words are made once.
        key = (wait.code, record.wave, wait.until)
        cause = known.get(key) if wait.code == "wave" else None
        if cause is None:
            cause = _chain(engine, record, facts, now)[0]
            if wait.code == "wave":
                known[key] = cause
        plain = cause.model_copy(update={"text": _without(cause.text, device_id)})
        counts[plain] += 1
        example.setdefault(plain, device_id)
    return tuple(CauseGroup(cause=c, devices=n, example=example[c]) for c, n in counts.most_common())


def rollout_causes(engine: Engine, now: int) -> tuple[Cause, ...]:
    """What the rollout as a whole waits for; never empty while it has not ended."""
    state, number = engine.rollout.state, progress.current(engine)
    if state is State.PLANNED:
        return (_cause("not-started", "waits: nobody has started it"),)
    if state is State.PAUSED:
        return (_cause("paused", f"paused: {engine.rollout.reason}"),)
    if state is State.RUNNING and (engine.banned or engine.rollout.quarantined):
        return (_cause("quarantined", f"waits: {engine.banned or 'the release is in quarantine'}"),)
    if state is State.REVERTING:
        left = engine.members.reverting + sum(len(engine.queues.lines[k]) for _, k in engine.queues.heads())
        return (_cause("reverting", f"{left} devices have not gone back yet"),)
    if state is not State.RUNNING:
        return ()
    if number is None:
        left = sum(engine.members.blocking)
        return (_cause("devices", f"{left} devices that came late are not done"),)
    return tuple(_cause(h.code, h.words, h.until) for h in progress.holdups(engine, number, now))


def _chain(engine: Engine, record: DeviceRecord, facts: DeviceFacts, now: int) -> list[Cause]:
    words = record.words or "without words"
    match record.phase:
        case Phase.HEALTHY:
            return [_cause("healthy", f"runs {engine.rollout.release} and is well")]
        case Phase.FAILED:
            return [_cause("failed", f"{record.failure}: {words}")]
        case Phase.UNJUDGED:
            return [_cause("inconclusive", "it runs the release; whether it is well cannot be measured there")]
        case Phase.LEFT_OUT:
            return [_cause("left-out", words)]
        case Phase.REVERTED:
            return [_cause("reverted", f"runs {record.before or 'nothing of this app'} again")]
        case Phase.GIVEN | Phase.PROVING | Phase.REVERTING:
            return _in_hand(engine, record, facts, now)
    wait = waits(engine, record, facts, now)
    if wait.code:
        return _own(engine, record, facts, wait, now)
    # People may ask at any time, also before the engine has looked again: the groups are the marks', not the queues'.
    return _room(engine, record, wait.stage, engine.members.marks[record.device_id].group, now)


def _in_hand(engine: Engine, record: DeviceRecord, facts: DeviceFacts, now: int) -> list[Cause]:
    out = []
    deadline = max(record.since, facts.online_since) + engine.spec.progress_deadline_s
    match record.phase:
        case Phase.GIVEN:
            out.append(_cause("updating", "told to run it, has not said that it is well", deadline))
        case Phase.PROVING:
            until = record.since + engine.spec.min_healthy_s
            out.append(_cause("proving", f"is well, until {_at(until, facts)} to be sure", until))
        case _:
            out.append(_cause("reverting", f"told to go back to {record.before or 'nothing of this app'}", deadline))
    if is_away(facts, engine.spec, now):
        return [*_away(facts, now), *out]
    if facts.veto is not None:
        out.append(_veto(engine, facts))
    return out


def _own(engine: Engine, record: DeviceRecord, facts: DeviceFacts, wait: Wait, now: int) -> list[Cause]:
    match wait.code:
        case "stopped":
            ended = _cause(
                engine.rollout.state.value, f"the rollout is {engine.rollout.state}: {engine.rollout.reason}"
            )
            return [*(rollout_causes(engine, now) or (ended,))]
        case "owner":
            return [_cause("owner", f"waits: {facts.owner} has this app of the device in hand")]
        case "wave":
            return _wave_waits(engine, record, now)
        case "held":
            return [_cause("held", record.held)]
        case "retry":
            words = f"waits: try {record.attempts + 1} at {_at(record.not_before, facts)} after {record.failure}"
            return [_cause("retry", words, record.not_before)]
        case "away" | "quiet":
            return _away(facts, now) if wait.code == "away" else [_cause("quiet", "waits: it is not connected now")]
        case "unreported":
            return [_cause("unreported", "waits: it has not said yet what it runs")]
        case "veto":
            return [_veto(engine, facts)]
        case "precondition":
            missing = ", ".join(unmet(facts, engine.spec))
            return [_cause("precondition", f"waits: it does not say that it meets {missing}")]
        case "window":
            return [_window(engine, facts, now)]
    return [_cause("final", f"not told: the rollout is {engine.rollout.state}: {engine.rollout.reason}")]


def _wave_waits(engine: Engine, record: DeviceRecord, now: int) -> list[Cause]:
    number = progress.current(engine)
    own = engine.rollout.waves[record.wave].name
    if number is None:
        return [_cause("wave", f"waits: wave {own}")]
    at = engine.rollout.waves[number]
    behind = "" if number == record.wave else f" after wave {at.name}"
    first = _cause("wave", f"waits: wave {own} opens{behind or ' next'}")
    return [first, *rollout_causes(engine, now)]


def _room(engine: Engine, record: DeviceRecord, stage: str, group: tuple[str, ...], now: int) -> list[Cause]:
    members = engine.members
    if stage == "back":
        return [_cause("budget", f"waits to go back: others of {_names(engine, group)} go first")]
    match giving.no_room(engine, record.device_id, stage, group, now):
        case "budget":
            index = members.budget_blocks(group, up=True) or 0
            share = members.shares[index][group[index]]
            return [
                _cause("budget", f"budget: {share.out} of {share.total} in {_names(engine, group)} are out already")
            ]
        case "parallel":
            return [_cause("parallel", f"waits: {members.parallel} devices are in hand, as many as may be")]
        case "rate":
            allowed, until = giving.rate_limit(engine), giving.times(engine)
            return [_cause("rate", f"waits: {allowed} devices in a minute were told", min(until, default=None))]
    return [_cause("turn", "its turn comes at once")]


def _away(facts: DeviceFacts, now: int) -> list[Cause]:
    silent = now - facts.last_seen
    if silent > facts.overdue_s:
        return [_cause("away", f"deferred: away, silent {silent / max(1, facts.contact_s):.1f}x its contact time")]
    due = facts.last_seen + facts.contact_s
    return [_cause("away", f"deferred: away, expected by {_at(due, facts)}", due)]


def _veto(engine: Engine, facts: DeviceFacts) -> Cause:
    assert facts.veto is not None
    until = facts.veto.since + engine.spec.veto_s
    if facts.veto.told:
        return _cause("veto", f"held: {facts.veto.told}", until)
    since = _at(facts.veto.since, facts)
    return _cause("veto", f"held: app veto '{facts.veto.words}', since {since}, expires {_at(until, facts)}", until)


def _window(engine: Engine, facts: DeviceFacts, now: int) -> Cause:
    windows: tuple[Windows | None, ...] = (engine.install, engine.download)
    opening = min((w.at(facts.zone, now) for w in windows if w is not None), key=lambda o: o.until)
    if opening.until >= FAR:
        return _cause("window", "waits: its window never opens")
    where = "local" if facts.zone == opening.zone else opening.zone
    return _cause("window", f"waits: window opens {local(opening.until, opening.zone)} {where}", opening.until)


def _names(engine: Engine, group: tuple[str, ...]) -> str:
    pairs = zip(engine.spec.budgets, group, strict=False)
    return ", ".join(f"{b.per} {value or '(none)'}" if b.per else "the rollout" for b, value in pairs) or "the rollout"


def _wave(engine: Engine, record: DeviceRecord) -> str:
    return engine.rollout.waves[record.wave].name


def _at(at: int, facts: DeviceFacts) -> str:
    return local(min(at, 2**35), facts.zone or "UTC")


def _without(text: str, device_id: str) -> str:
    return text.replace(device_id, "it")


def _cause(code: str, text: str, until: int | None = None) -> Cause:
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return Cause(code=code, text=plain[:MAX_TEXT], until=None if until is None else min(until, FAR))
