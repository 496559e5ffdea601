"""What one device's facts make of its record: the next event, if any, and when time alone may bring another.

Bad news counts only when it was heard after the device was told (it may be of an earlier try); good news counts always.
"""

from __future__ import annotations

from typing import NamedTuple

from fleet_protocol.documents.rollout import RolloutSpec
from fleet_server.rollout.facts import DeviceFacts, Opinion, Verdict
from fleet_server.rollout.machine import GIVES, TAKES_BACK, Event
from fleet_server.rollout.state import DeviceRecord, Phase, State


class News(NamedTuple):
    """An event, with the kind and the words of a failure, or the words of a device that is left out."""

    event: Event
    failure: str = ""
    words: str = ""


class Situation(NamedTuple):
    """The rollout as a device sees it: whether its wave takes devices in, whether what they say still counts."""

    release: str
    state: State
    admitted: bool
    judging: bool


def is_away(facts: DeviceFacts, spec: RolloutSpec, now: int) -> bool:
    """Silent for longer than the specification bears."""
    return not facts.online and now - facts.last_seen > spec.offline.after_s


def vetoed_until(facts: DeviceFacts, spec: RolloutSpec, now: int) -> int | None:
    """When the veto is honoured no more; None: there is none, or it is over."""
    if facts.veto is None:
        return None
    until = facts.veto.since + spec.veto_s
    return until if now < until else None


def unmet(facts: DeviceFacts, spec: RolloutSpec) -> tuple[str, ...]:
    """Preconditions that the device does not say it meets."""
    return tuple(p for p in spec.preconditions if not facts.preconditions.get(p))


def step(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, at: Situation, now: int) -> News | None:
    """The next event of this device, None: it stays as it is."""
    match record.phase:
        case Phase.QUEUED:
            return _queued(spec, facts, at, now)
        case Phase.FETCHING:
            return News(Event.LEAVE, words=_newer(facts)) if facts.superseded_by else _refused(record, facts, at)
        case Phase.GIVEN:
            return (
                _refused(record, facts, at)
                or _judged(record, facts, at, since=record.given_at)
                or _lost(spec, record, facts, now)
                or _late(spec, record, facts, at, now)
            )
        case Phase.PROVING:
            return (
                _judged(record, facts, at, since=record.since)
                or _proved(spec, record, facts, now)
                or _lost(spec, record, facts, now)
            )
        case Phase.HEALTHY | Phase.UNJUDGED:
            return _judged(record, facts, at, since=record.given_at) if at.judging else None
        case Phase.FAILED:
            return _failed(spec, record, facts, at)
        case Phase.REVERTING:
            return _reverting(spec, record, facts, now)
    return None


def due(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, now: int) -> list[int]:
    """Times after `now` at which `step`, or whether the device is away, may change without news."""
    out: list[int] = []
    phase = record.phase
    if not facts.online:
        out.append(facts.last_seen + spec.offline.after_s + 1)
        if phase in (Phase.GIVEN, Phase.PROVING):
            out.append(max(facts.last_seen, record.given_at) + facts.overdue_s + 1)
    if phase is Phase.GIVEN:
        out.append(max(record.given_at, facts.online_since) + spec.progress_deadline_s)
        if facts.veto is not None:
            out.append(facts.veto.since + spec.veto_s)
    elif phase is Phase.PROVING:
        out.append(record.since + spec.min_healthy_s)
    elif phase is Phase.REVERTING:
        out.append(max(record.since, facts.online_since) + spec.progress_deadline_s)
    return [at for at in out if at > now]


def _queued(spec: RolloutSpec, facts: DeviceFacts, at: Situation, now: int) -> News | None:
    if facts.superseded_by:
        return News(Event.LEAVE, words=_newer(facts))
    if not at.admitted or at.state is not State.RUNNING or not is_away(facts, spec, now):
        return None
    words = "it was away when its wave was open"
    match spec.offline.policy:
        case "fail":
            return News(Event.FAIL, "lost", words)
        case "skip":
            return News(Event.LEAVE, words=words)
    return None


def _newer(facts: DeviceFacts) -> str:
    return f"{facts.superseded_by} brings something newer"


def _verdict(facts: DeviceFacts, at: Situation) -> Verdict | None:
    found = facts.verdict
    return found if found is not None and found.about == at.release else None


def _refused(record: DeviceRecord, facts: DeviceFacts, at: Situation) -> News | None:
    said = facts.refused
    if said is None or said.about != at.release or said.heard_at < record.since:
        return None
    return News(Event.FAIL, "refused", said.words)


def _judged(record: DeviceRecord, facts: DeviceFacts, at: Situation, *, since: int) -> News | None:
    verdict = _verdict(facts, at)
    if verdict is None:
        return None
    heard = verdict.heard_at >= since
    if verdict.opinion is Opinion.FAILED and heard:
        return News(Event.FAIL, verdict.failure, verdict.words)
    if facts.runs != at.release:
        return None
    if verdict.opinion is Opinion.HEALTHY and record.phase in (Phase.GIVEN, Phase.UNJUDGED):
        return News(Event.WELL)
    if verdict.opinion is Opinion.INCONCLUSIVE and heard and record.phase in (Phase.GIVEN, Phase.PROVING):
        return News(Event.UNSURE)
    return None


def _proved(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, now: int) -> News | None:
    until = record.since + spec.min_healthy_s
    heard = now if facts.online else facts.last_seen
    return News(Event.PROVED) if now >= until and heard >= until else None


def _lost(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, now: int) -> News | None:
    if facts.online or spec.offline.lost != "fail" or not is_away(facts, spec, now):
        return None
    if now - max(facts.last_seen, record.given_at) <= facts.overdue_s:
        return None
    return News(Event.FAIL, "lost", "it was given the release and has not been heard of since")


def _late(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, at: Situation, now: int) -> News | None:
    if not facts.online or now - max(record.given_at, facts.online_since) < spec.progress_deadline_s:
        return None
    if vetoed_until(facts, spec, now) is not None:
        return None
    if facts.runs == at.release and _verdict(facts, at) is None:
        return News(Event.UNSURE)  # a host that gives no verdicts at all
    return News(Event.FAIL, "timeout", f"it was not well within {spec.progress_deadline_s} s")


def _failed(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, at: Situation) -> News | None:
    if at.state in TAKES_BACK and record.taken_back:
        return News(Event.BACK) if facts.runs == record.before else None
    verdict = _verdict(facts, at)
    well = verdict is not None and verdict.opinion is Opinion.HEALTHY and verdict.heard_at >= record.since
    if well and at.judging and facts.runs == at.release:
        return News(Event.WELL)
    retry = spec.retries.get(record.failure)  # type: ignore[call-overload]  # a text of the store
    if retry is None or record.attempts >= retry.times or record.taken_back or facts.superseded_by:
        return None
    return News(Event.RETRY, record.failure, record.words) if at.state in GIVES else None


def _reverting(spec: RolloutSpec, record: DeviceRecord, facts: DeviceFacts, now: int) -> News | None:
    if facts.runs == record.before:
        return News(Event.BACK)
    if facts.online and now - max(record.since, facts.online_since) >= spec.progress_deadline_s:
        return News(Event.FAIL, "timeout", f"it did not go back within {spec.progress_deadline_s} s")
    return None
