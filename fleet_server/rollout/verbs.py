"""What people ask, carried out or refused in one sentence. Who may ask is decided before, elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_server.rollout import progress
from fleet_server.rollout.decisions import Quarantine, VerbRefused
from fleet_server.rollout.facts import Act, Verb
from fleet_server.rollout.machine import ALLOWED, TAKES_BACK, Event
from fleet_server.rollout.observe import News
from fleet_server.rollout.state import DeviceRecord, Phase, State, WaveState

if TYPE_CHECKING:
    from fleet_server.rollout.engine import Engine

OF_A_DEVICE = frozenset({Act.SKIP_DEVICE, Act.FORCE_DEVICE, Act.HOLD, Act.UNHOLD, Act.PIN, Act.UNPIN})


def carry_out(engine: Engine, verb: Verb, now: int) -> None:
    """One verb; a refused one is noted and not asked again."""
    rollout = engine.rollout
    rollout.last_verb = verb.seq
    after = ALLOWED[verb.act].get(rollout.state)
    if after is None:
        refusal = f"the rollout is {rollout.state}, so it cannot be asked to {verb.act}"
    elif verb.act in OF_A_DEVICE:
        refusal = _device(engine, verb, now)
    else:
        refusal = _rollout(engine, verb, after, now)
    if refusal:
        engine.made.append(VerbRefused(verb.seq, refusal))


def _rollout(engine: Engine, verb: Verb, after: State, now: int) -> str:
    rollout = engine.rollout
    said = f"{verb.act} by {verb.by}" + (f": {verb.reason}" if verb.reason else "")
    match verb.act:
        case Act.APPROVE | Act.DENY:
            return _approval(engine, verb, said, now)
        case Act.LIFT:
            return _lift(engine, said)
        case Act.PROMOTE:
            refusal = _promote(engine, verb)
            if refusal:
                return refusal
            if rollout.state is State.PAUSED:
                _forgive(engine, now)
        case Act.RESUME:
            _forgive(engine, now)
        case Act.RETRY_FAILED:
            _retry(engine, now)
        case Act.REVERT:
            ended = rollout.ended_at if rollout.state is State.COMPLETE else now
            if now > ended + engine.spec.rollback_window_s:
                return f"its rollback window ended {now - ended - engine.spec.rollback_window_s} s ago"
            if rollout.state is State.REVERTED and not rollout.revert_waves:
                return "everything was taken back already"
            rollout.revert_waves = []
        case Act.START:
            rollout.by, rollout.started_at = verb.by, now
            engine.start(now)
    if after is not rollout.state:
        engine.turn(after, said, now)
    engine.restep()
    return ""


def _approval(engine: Engine, verb: Verb, said: str, now: int) -> str:
    rollout = engine.rollout
    named = {w.name: i for i, w in enumerate(rollout.waves)}
    number = named.get(verb.wave) if verb.wave else progress.current(engine)
    if number is None:
        return f"there is no wave {verb.wave}" if verb.wave else "no wave waits any more"
    wave, wanted = rollout.waves[number], engine.spec.waves[number].approval
    if verb.act is Act.DENY:
        wave.approvals = {}
        if rollout.state is not State.PAUSED:
            engine.turn(State.PAUSED, said, now)
        return ""
    if wanted is None:
        return f"wave {wave.name} needs no approval"
    if wanted.of and verb.by not in wanted.of:
        return f"wave {wave.name} is approved by {', '.join(wanted.of)}, not by {verb.by}"
    if wave.state is not WaveState.WAITING:
        return f"wave {wave.name} is {wave.state} already"
    wave.approvals.setdefault(verb.by, now)
    return ""


def _promote(engine: Engine, verb: Verb) -> str:
    number = progress.current(engine)
    if number is None:
        return "all waves have passed"
    wave = engine.rollout.waves[number]
    if wave.state is WaveState.WAITING and progress.approvals_missing(engine, number):
        return f"wave {wave.name} waits for approvals, which a promotion does not replace"
    wave.promoted_by = verb.by
    return ""


def _lift(engine: Engine, said: str) -> str:
    rollout = engine.rollout
    if not rollout.quarantined:
        return f"{rollout.release} is not in quarantine by this rollout"
    rollout.quarantined = False
    engine.made.append(Quarantine(rollout.app, rollout.release, said, lifted=True))
    return ""


def _forgive(engine: Engine, now: int) -> None:
    """A person has seen what failed and goes on: it stops the rollout no second time."""
    for record in engine.members.records.values():
        if record.phase is Phase.FAILED and not record.forgiven:
            record.forgiven = True
            engine.dirty(record.device_id)
    if (number := progress.current(engine)) is not None:
        progress.reset_wave(engine.rollout.waves[number], now)


def _retry(engine: Engine, now: int) -> None:
    for device_id, record in sorted(engine.members.records.items()):
        if record.phase is not Phase.FAILED:
            continue
        if engine.rollout.state in TAKES_BACK:
            record.taken_back = False
            engine.dirty(device_id)
        elif not record.taken_back:
            record.attempts = record.not_before = 0
            record.forgiven = False
            engine.apply(device_id, News(Event.RETRY, "", ""), now)
            record.attempts = record.not_before = 0


def _device(engine: Engine, verb: Verb, now: int) -> str:
    record = engine.members.records.get(verb.device_id)
    if record is None:
        return f"{verb.device_id} is no device of this rollout"
    said = f"{verb.act} by {verb.by}" + (f": {verb.reason}" if verb.reason else "")
    refusal = _one(engine, record, verb, said, now)
    if not refusal:
        engine.dirty(record.device_id)
        engine.restep()
    return refusal


def _one(engine: Engine, record: DeviceRecord, verb: Verb, said: str, now: int) -> str:
    match verb.act:
        case Act.HOLD:
            record.held = said
        case Act.UNHOLD:
            record.held = ""
        case Act.FORCE_DEVICE:
            if record.phase not in (Phase.QUEUED, Phase.FETCHING):
                return f"{record.device_id} is {record.phase}: there is nothing to force"
            record.forced, record.held = True, ""
        case Act.UNPIN:
            if record.phase is not Phase.LEFT_OUT:
                return f"{record.device_id} is not pinned"
            engine.apply(record.device_id, News(Event.JOIN), now)
        case Act.SKIP_DEVICE | Act.PIN:
            if record.phase not in (Phase.QUEUED, Phase.FETCHING, Phase.FAILED):
                return f"{record.device_id} is {record.phase}: it has been given the release already"
            engine.apply(record.device_id, News(Event.LEAVE, words=said), now)
    return ""
