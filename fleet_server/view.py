"""A device's state in one word, and why, in one short reason. Pure.

The first rule that holds wins: never heard, overdue, refused or failed, on its way to what is desired, held, degraded,
quiet, ok. A failure is still a failure while the device is quiet; what nobody can know any more is overdue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fleet_protocol.documents.device import AppState, Refusal, Reported, ReportedApp
from fleet_protocol.wire.bounds import MAX_TEXT
from fleet_protocol.wire.errors import inert
from fleet_server.selection import Contact
from fleet_server.store.records import Mark

State = Literal["ok", "updating", "degraded", "failed", "held", "quiet", "OVERDUE", "unknown"]


USUAL = Contact()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one device."""

    reported: Reported | None
    last_seen: int | None
    online: bool
    desired: Mark
    contact: Contact = USUAL


def judge(known: Known, now: int) -> tuple[State, str]:
    """The state and its reason ("" for ok)."""
    state, why = _judge(known, now)
    return state, inert(why)[:MAX_TEXT]


def cause(known: Known, state: State) -> tuple[str, str]:
    """What devices in this state have in common: a code, and `app@version` or "". Numbers and names of one device,
    which stand in the reason, are not in it."""
    reported = known.reported
    if reported is None or state in ("OVERDUE", "unknown", "ok", "quiet"):
        return _PLAIN_CODES[state], ""
    refusal = reported.refusal
    if state == "failed" and refusal is not None and concerns(refusal, known.desired):
        return refusal.code, ""
    for app in reported.apps:
        if app.state == state or (app.state == "stopped" and state == "degraded"):
            return _app_code(app), f"{app.app}@{app.release}" if app.release else app.app
    for app in reported.apps:
        if state == "degraded" and app.desired_release is not None and app.release != app.desired_release:
            return "returned", f"{app.app}@{app.desired_release}"
    return state, ""


_PLAIN_CODES: dict[State, str] = {"OVERDUE": "overdue", "unknown": "never-reported", "ok": "", "quiet": ""}


def _app_code(app: ReportedApp) -> str:
    if app.state in ("held", "updating", "stopped"):
        return app.state
    if app.verdict is not None and app.verdict.code:
        return app.verdict.code
    if any(service.oom_kills for service in app.services):
        return "oom"
    if any(service.health == "unhealthy" for service in app.services):
        return "unhealthy"
    if any(service.state in ("backoff", "failed") for service in app.services):
        return "crash"
    if app.desired_release is not None and app.release != app.desired_release:
        return "returned"
    return app.state


def _judge(known: Known, now: int) -> tuple[State, str]:
    reported = known.reported
    if reported is None or known.last_seen is None:
        if known.last_seen is None:
            return "unknown", "enrolled, never seen"
        if now - known.last_seen <= known.contact.every_s * known.contact.overdue:
            return "unknown", "enrolled, never reported"
        return "OVERDUE", f"never reported, silent for {ago(now - known.last_seen)}"
    silent = max(0, now - known.last_seen)
    if silent > known.contact.every_s * known.contact.overdue:
        return "OVERDUE", f"silent {silent / known.contact.every_s:.1f}x contact ({ago(silent)})"
    for step in (_failed, _updating, _standing):
        found = step(reported, known.desired)
        if found is not None:
            return found
    if not known.online:
        return "quiet", f"offline for {ago(silent)}, due in {ago(max(0, known.contact.every_s - silent))}"
    return "ok", ""


def _failed(reported: Reported, desired: Mark) -> tuple[State, str] | None:
    refusal = reported.refusal
    if refusal is not None and concerns(refusal, desired):
        return "failed", reason(refusal)
    for app in reported.apps:
        if app.state == "failed":
            return "failed", _why(app)
    return None


def _updating(reported: Reported, desired: Mark) -> tuple[State, str] | None:
    if reported.preparing:
        return "updating", reported.preparing
    if desired.generation and reported.generation > desired.generation:
        words = "which this server does not know; it is left alone until you apply what it is to run"
        return "degraded", f"has accepted generation {reported.generation}, {words}"
    if desired.generation and (reported.generation, reported.sha256) != (desired.generation, desired.sha256):
        return "updating", f"generation {desired.generation} is not accepted yet, it has {reported.generation}"
    for app in reported.apps:
        if app.state == "updating":
            return "updating", _why(app)
    if reported.running_generation < reported.generation:
        return "updating", f"starting generation {reported.generation}"
    return None


def _standing(reported: Reported, desired: Mark) -> tuple[State, str] | None:
    kinds: tuple[tuple[AppState, State], ...] = (("held", "held"), ("degraded", "degraded"), ("stopped", "degraded"))
    for app_state, state in kinds:
        for app in reported.apps:
            if app.state == app_state:
                return state, _why(app)
    returned = [a for a in reported.apps if a.desired_release is not None and a.release != a.desired_release]
    if returned and desired.generation:
        return (
            "degraded",
            f"{returned[0].app} runs {returned[0].release or 'nothing'}, not {returned[0].desired_release}",
        )
    return None


def concerns(refusal: Refusal, desired: Mark) -> bool:
    """Whether a refusal is about the newest desired state; one about an older document is history."""
    return refusal.generation is None or refusal.generation >= desired.generation


def reason(refusal: Refusal) -> str:
    """The part of a refusal's sentence that fits a column: what stands behind the grammar's first colon."""
    said = (refusal.model_extra or {}).get("reason")
    if isinstance(said, str) and said:
        return said
    return refusal.sentence.partition(": ")[2] or refusal.sentence


def ago(seconds: float) -> str:
    """A length of time as people say it: two digits and a unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _why(app: ReportedApp) -> str:
    return f"{app.app}: {app.why or app.state}"
