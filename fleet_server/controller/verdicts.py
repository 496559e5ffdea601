"""A device's own verdict on an app, as the engine takes it. Pure.

The host judges the revision that is desired (docs/host.md); a host that sends no verdict is judged by the state of its
app alone. What a host cannot measure is inconclusive, never good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_server.rollout.facts import Opinion, Verdict

Json = Mapping[str, Any]
OPINIONS = {
    "trial": Opinion.PROVING,
    "good": Opinion.HEALTHY,
    "inconclusive": Opinion.INCONCLUSIVE,
    "bad": Opinion.FAILED,
    "failed": Opinion.FAILED,
}
FAILURES = {
    "oom": "oom",
    "restarts": "restarts",
    "gave-up": "crash",
    "cannot-start": "crash",
    "host-down": "crash",
    "absent": "timeout",
    "probe": "probe",
    "not-ready": "probe",
    "unhealthy": "probe",
    "leak": "memory-slope",
    "throttled": "throttled",
}
WORDS = (
    ("killed for memory", "oom"),
    ("restart", "restarts"),
    ("exit code", "crash"),
    ("ended with", "crash"),
    ("cannot be started", "crash"),
    ("unhealthy", "probe"),
    ("not well", "probe"),
    ("probe", "probe"),
    ("memory grows", "memory-slope"),
    ("did not run", "timeout"),
)
"""For hosts whose verdict has no code."""


def verdict(app: Json, about: str, heard_at: int) -> Verdict | None:
    """What a reported app says of `about`; None: nothing."""
    said = app.get("verdict")
    if not isinstance(said, dict):
        return _of_state(app, about, heard_at)
    opinion = OPINIONS.get(str(said.get("state")))
    if opinion is None:
        return None
    words = str(said.get("reason") or app.get("why") or "")
    now = said.get("now") if isinstance(said.get("now"), dict) else {}
    assert isinstance(now, dict)
    return Verdict(
        about,
        opinion,
        heard_at,
        failure=failure(str(said.get("code") or ""), words),
        words=words,
        observed_s=_count(said, "window_s") or 0,
        restarts=_count(said, "restarts"),
        ooms=_count(said, "oom_kills"),
        exits=_count(said, "exits"),
        probe_failures=_count(said, "failed_probes"),
        memory=_number(now, "memory_percent"),
        cpu=_number(now, "cpu_percent"),
        pids=_number(now, "pids_percent"),
        throttled=_number(now, "cpu_throttled_percent"),
        memory_slope=_number(now, "memory_slope_percent_per_h"),
        metrics=_metrics(said),
    )


def went_back(app: Json) -> bool:
    """The app runs its last good instead of what is desired."""
    said = app.get("verdict")
    if isinstance(said, dict) and said.get("state") == "bad":
        return True
    return app.get("desired_release") is not None and app.get("desired_release") != app.get("release")


def failure(code: str, words: str) -> str:
    """A FailureType."""
    if code in FAILURES:
        return FAILURES[code]
    return next((kind for part, kind in WORDS if part in words), "other")


def _of_state(app: Json, about: str, heard_at: int) -> Verdict | None:
    words = str(app.get("why") or "")
    match app.get("state"):
        case "ok":
            opinion = Opinion.FAILED if went_back(app) else Opinion.HEALTHY
        case "failed" | "stopped":
            opinion = Opinion.FAILED
        case "degraded" if went_back(app):
            opinion = Opinion.FAILED
        case "updating" | "degraded":
            opinion = Opinion.PROVING
        case _:
            return None
    return Verdict(about, opinion, heard_at, failure=failure("", words), words=words)


def _count(said: Json, name: str) -> int | None:
    value = said.get(name)
    return value if type(value) is int else None


def _number(said: Json, name: str) -> float | None:
    value = said.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _metrics(said: Json) -> dict[str, float]:
    found = said.get("metrics")
    return {str(k): float(v) for k, v in found.items() if type(v) in (int, float)} if isinstance(found, dict) else {}
