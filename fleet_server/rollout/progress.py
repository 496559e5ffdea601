"""How a rollout goes on: when it fails and what is done then, when a wave opens, soaks and passes, when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fleet_protocol.documents.rollout import AbortSpec, WaveSpec
from fleet_server.rollout import gates
from fleet_server.rollout.decisions import GateMeasured, WaveOpened, WavePassed
from fleet_server.rollout.facts import DeviceFacts
from fleet_server.rollout.machine import HAVE_IT
from fleet_server.rollout.state import Phase, State, WaveRecord, WaveState

if TYPE_CHECKING:
    from fleet_server.rollout.engine import Engine


class Holdup(NamedTuple):
    """Why a wave does not go on; `until`: when time alone may change it."""

    code: str
    words: str
    until: int | None = None


def current(engine: Engine) -> int | None:
    """The wave that is under way or next; None when all have passed."""
    return next((i for i, w in enumerate(engine.rollout.waves) if w.state is not WaveState.PASSED), None)


def fails(engine: Engine, now: int) -> bool:
    """Whether too much failed, and something was done about it."""
    on_fail = engine.spec.on_fail
    if on_fail == "continue" or not engine.judging(now):
        return False
    if on_fail == "pause" and engine.rollout.state is State.PAUSED:
        return False
    reason = broken(engine)
    if reason:
        act_on_failure(engine, reason, now)
    return bool(reason)


def broken(engine: Engine) -> str:
    """The first criterion to stop that is met, in words."""
    members = engine.members
    # Failures show sooner than health, so those that are still in hand belong to the whole of which a share is taken.
    told = members.judged(range(len(members.tally))) + members.parallel
    for rule in engine.spec.aborts:
        failed = sum(members.failures[f] for f in rule.on) if rule.on else members.failures.total()
        if rule.count is not None and failed > rule.count:
            return f"{failed} failed{_how(rule)}, more than {rule.count}"
        if rule.share is not None and told >= rule.sample and failed * 100 > rule.share * told:
            return f"{failed} of {told} failed{_how(rule)}, more than {rule.share:g} %"
    return ""


def act_on_failure(engine: Engine, reason: str, now: int) -> None:
    """What the specification says."""
    match engine.spec.on_fail:
        case "pause":
            engine.turn(State.PAUSED, reason, now)
        case "abort":
            engine.turn(State.ABORTED, reason, now)
        case "revert-wave":
            at = current(engine)
            engine.rollout.revert_waves = [len(engine.rollout.waves) - 1 if at is None else at]
            engine.turn(State.REVERTING, reason, now)
        case "revert":
            engine.rollout.revert_waves = []
            engine.turn(State.REVERTING, reason, now)


def advances(engine: Engine, now: int) -> bool:
    """One move of the current wave, or of the rollout to its end; whether there was any."""
    state = engine.rollout.state
    if state is State.REVERTING:
        left = any(key[0] == "back" for _, key in engine.queues.heads())
        if left or engine.members.reverting:
            return False
        away = sum(r.phase is Phase.REVERTING for r in engine.members.records.values())
        engine.turn(State.REVERTED, f"{engine.rollout.reason}; {away} deferred" if away else engine.rollout.reason, now)
        return True
    if state is not State.RUNNING:
        return False
    number = current(engine)
    if number is None:
        if any(engine.members.blocking):
            return False  # devices that came back late, or are tried again
        away = engine.members.total("deferred")
        engine.turn(State.COMPLETE, f"{away} deferred" if away else "", now)
        return True
    wave, spec = engine.rollout.waves[number], engine.spec.waves[number]
    if wave.promoted_by:
        return _pass(engine, number, f"promoted by {wave.promoted_by}", now)
    match wave.state:
        case WaveState.WAITING:
            return _opens(engine, number, now)
        case WaveState.OPEN if not _timed_out(engine, number, now):
            if engine.members.blocking[number]:
                return False
            wave.state, wave.soak_from = WaveState.SOAKING, now
            return True
        case WaveState.SOAKING if not _timed_out(engine, number, now):
            return _measures(engine, number, now) or _concludes(engine, number, now)
    took = f"wave {wave.name} took longer than {_timeout(engine, spec)} s"
    if engine.spec.on_fail == "continue":
        return _pass(engine, number, took, now)
    act_on_failure(engine, took, now)
    return True


def holdups(engine: Engine, number: int, now: int) -> list[Holdup]:
    """Everything that a wave waits for itself; empty: it goes on in this very call."""
    wave, spec, members = engine.rollout.waves[number], engine.spec.waves[number], engine.members
    if wave.state is WaveState.WAITING:
        missing = approvals_missing(engine, number)
        if not missing:
            return []
        given = len(wave.approvals)
        return [Holdup("approval", f"{given} of {given + missing} approvals for wave {wave.name}")]
    if wave.state is WaveState.OPEN:
        left = members.blocking[number]
        return [Holdup("devices", f"{left} devices of wave {wave.name} are not done")] if left else []
    out = []
    until = wave.soak_from + _soak(engine, spec)
    if now < until:
        out.append(Holdup("soak", f"wave {wave.name} soaks", until))
    if _asks_gates(engine, number):
        for gate, record in zip(engine.spec.gates, wave.gates, strict=True):
            if gates.verdict(record, gate) not in _good(engine):
                out.append(Holdup("gate", f"gate {gate.text}: {record.said or 'not measured yet'}", record.next_at))
    size = len(members.of_wave[number])
    if size and members.away[number] * 100 > engine.spec.offline.at_most * size:
        words = f"{members.away[number]} of {size} devices of wave {wave.name} are away, "
        out.append(Holdup("away", f"{words}at most {engine.spec.offline.at_most:g} % may be"))
    if number < len(engine.rollout.waves) - 1 and not members.judged(range(number + 1)) and members.records:
        out.append(Holdup("evidence", f"no device up to wave {wave.name} could be judged yet"))
    return out


def approvals_missing(engine: Engine, number: int) -> int:
    """How many more people have to agree before the wave opens."""
    wanted = engine.spec.waves[number].approval
    return 0 if wanted is None else max(0, wanted.need - len(engine.rollout.waves[number].approvals))


def times(engine: Engine, now: int) -> list[int]:
    """When time alone moves the current wave."""
    number = current(engine)
    if engine.rollout.state is not State.RUNNING or number is None:
        return []
    wave = engine.rollout.waves[number]
    out = [h.until for h in holdups(engine, number, now) if h.until is not None]
    if wave.state is WaveState.SOAKING and _asks_gates(engine, number):
        out += [g.next_at for g in wave.gates]
    timeout = _timeout(engine, engine.spec.waves[number])
    if timeout is not None and wave.state is not WaveState.WAITING:
        out.append(wave.opened_at + timeout)
    return out


def reset_wave(wave: WaveRecord, now: int) -> None:
    """After a pause: what was measured before counts no more, and its time begins anew."""
    if wave.state in (WaveState.OPEN, WaveState.SOAKING):
        wave.opened_at = now
    if wave.state is WaveState.SOAKING:
        wave.soak_from = now
    for record in wave.gates:
        record.next_at = now
        record.successes = record.failures = record.inconclusive = record.errors = 0


# --- inside


def _opens(engine: Engine, number: int, now: int) -> bool:
    if approvals_missing(engine, number) or not engine.gives():
        return False
    wave = engine.rollout.waves[number]
    wave.state, wave.opened_at = WaveState.OPEN, now
    engine.made.append(WaveOpened(wave.name, len(engine.members.of_wave[number])))
    for device_id in sorted(engine.members.of_wave[number]):
        engine.touch(device_id, now)
    return True


def _measures(engine: Engine, number: int, now: int) -> bool:
    wave = engine.rollout.waves[number]
    asked = [(g, r) for g, r in zip(engine.spec.gates, wave.gates, strict=True) if r.next_at <= now]
    if not asked or not _asks_gates(engine, number):
        return False
    seen = _seen(engine, number)
    old: list[DeviceFacts] | None = None
    for gate, record in asked:
        if gate.times_old and old is None:
            old = _on_the_old(engine)
        history = [(int(t or 0), v) for t, v in record.history if v is not None]
        found = gates.measure(gate, seen, old or (), history)
        gates.add(record, gate, found, now)
        engine.made.append(GateMeasured(wave.name, gate.text, found.state, found.said))
    return True


def _concludes(engine: Engine, number: int, now: int) -> bool:
    wave, members, spec = engine.rollout.waves[number], engine.members, engine.spec
    found = []
    if _asks_gates(engine, number):
        found = [(gates.verdict(r, g), g, r) for g, r in zip(spec.gates, wave.gates, strict=True)]
    for word, gate, record in found:
        if word == "failed" and spec.on_fail != "continue":
            act_on_failure(engine, f"gate {gate.text} failed in wave {wave.name}: {record.said}", now)
            return True
        if word == "inconclusive":
            engine.turn(State.PAUSED, f"gate {gate.text} is inconclusive in wave {wave.name}: {record.said}", now)
            return True
    if holdups(engine, number, now):
        return False
    judged = members.judged([number])
    healthy = members.tally[number]["healthy"]
    if spec.success is not None and spec.on_fail != "continue" and judged and healthy * 100 < spec.success * judged:
        words = f"{healthy} of {judged} devices of wave {wave.name} are well, fewer than {spec.success:g} %"
        if spec.on_fail == "pause":
            engine.turn(State.PAUSED, words, now)
        else:
            act_on_failure(engine, words, now)
        return True
    return _pass(engine, number, "its gates hold" if found else "its devices are done", now)


def _pass(engine: Engine, number: int, why: str, now: int) -> bool:
    wave = engine.rollout.waves[number]
    opened = wave.state is not WaveState.WAITING
    wave.state, wave.passed_at = WaveState.PASSED, now
    wave.opened_at = wave.opened_at or now
    engine.made.append(WavePassed(wave.name, why))
    if not opened:
        for device_id in sorted(engine.members.of_wave[number]):
            engine.touch(device_id, now)
    return True


def _asks_gates(engine: Engine, number: int) -> bool:
    """A wave of which nobody was reached has nothing to measure."""
    tally = engine.members.tally[number]
    return bool(engine.spec.gates) and bool(tally["healthy"] + tally["failed"] + tally["inconclusive"])


def _seen(engine: Engine, number: int) -> gates.Wave:
    members, release = engine.members, engine.rollout.release
    devices, reachable = [], 0
    for device_id in members.of_wave[number]:
        facts = members.facts[device_id]
        if members.records[device_id].phase in HAVE_IT and facts.verdict and facts.verdict.about == release:
            devices.append(facts)
            reachable += not members.marks[device_id].away
    tally = members.tally[number]
    failed = tally["failed"] - members.forgiven[number]
    return gates.Wave(tally["healthy"], failed, tally["inconclusive"], tuple(devices), reachable)


def _on_the_old(engine: Engine) -> list[DeviceFacts]:
    members, release = engine.members, engine.rollout.release
    return [
        f
        for device_id, f in members.facts.items()
        if members.records[device_id].phase is Phase.QUEUED and f.verdict and f.verdict.about == f.runs != release
    ]


def _timed_out(engine: Engine, number: int, now: int) -> bool:
    timeout = _timeout(engine, engine.spec.waves[number])
    return timeout is not None and now >= engine.rollout.waves[number].opened_at + timeout


def _timeout(engine: Engine, spec: WaveSpec) -> int | None:
    return spec.timeout_s if spec.timeout_s is not None else engine.spec.wave_timeout_s


def _soak(engine: Engine, spec: WaveSpec) -> int:
    return spec.soak_s if spec.soak_s is not None else engine.spec.soak_s


def _good(engine: Engine) -> tuple[str, ...]:
    return ("passed", "failed") if engine.spec.on_fail == "continue" else ("passed",)


def _how(rule: AbortSpec) -> str:
    return f" ({', '.join(rule.on)})" if rule.on else ""
