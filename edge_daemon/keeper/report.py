"""The reported state, as fleet_protocol.documents.device.Reported has it: built from plain values."""

from __future__ import annotations

from typing import Any

from edge_daemon.keeper.loop import View
from edge_daemon.keeper.plans import ASKING, RETURNED, ROLLED_BACK, UNREADABLE, VETOED, WITHDRAWN
from edge_daemon.keeper.ports import EnforcedLimits, Usage
from edge_daemon.keeper.probes import UNHEALTHY
from edge_daemon.keeper.records import AppRow, ServiceRow
from edge_daemon.keeper.sampler import Readings
from edge_daemon.keeper.standing import reported
from edge_daemon.keeper.supervise import CRASH_LOOP_AT, Past, Unit
from edge_daemon.slots import shown
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import MAX_REPORTED_BYTES, MAX_TEXT
from fleet_protocol.wire.errors import inert

MOVING = (*(field for field in Usage._fields if field != "oom_kills"), "sampled_at")
"""Figures that are new in every report."""
SELDOM_READ = tuple(field for field in MOVING if field.endswith(("stalled_usec", "_rx_bytes", "_tx_bytes")))
NO_READINGS = Readings(EnforcedLimits(None, None, None, None), Usage(None, None, None, None, None, None))


def service_state(unit: Unit, view: View, now: float) -> str:
    """One word of fleet_protocol.documents.device.ServiceState."""
    seen = view.seen.get(unit.name)
    past = view.past.get(unit.name, Past())
    if seen is not None and (seen.revision != view.plan.revision or unit.name in view.stopping):
        return "stopping"
    if seen is not None and seen.pid is not None:
        return "running"
    if past.finished is not None:
        return "completed" if past.finished == 0 else "failed"
    if past.due > now or (seen is not None and past.failures):
        return "crash-loop" if past.failures >= CRASH_LOOP_AT else "backoff"
    return "starting" if unit.name in view.acting else "waiting"


def app_state(view: View, row: AppRow, states: dict[str, str]) -> tuple[str, str]:
    """(state, why) of an app: from those of its services, then from how its revision stands."""
    state, why = _state_of_services(view, row, states)
    standing = view.standing
    if view.plan.revision is None or standing is None:
        return state, why
    if view.plan.kind == RETURNED:
        return "failed", view.plan.why + ("" if state == "ok" else f"; {why}")
    if view.plan.kind == ROLLED_BACK:
        return ("degraded" if state in ("ok", "updating") else state), view.plan.why
    if standing.state == "failed":
        return "failed", f"{standing.reason}; nothing to go back to"
    if view.plan.kind == ASKING:
        return ("updating", view.plan.why) if state == "ok" else (state, why)
    if view.plan.kind == VETOED:
        return ("held", view.plan.why) if state in ("ok", "updating") else (state, f"{why}; {view.plan.why}")
    if standing.state == "inconclusive" and state == "ok":
        return state, f"not proven: {standing.reason}"
    if standing.state == "held":
        words = f"{view.plan.why} {standing.reason}"
        return ("held", words) if state in ("ok", "updating") else (state, f"{why}; {words}")
    if standing.state == "trial" and state == "ok":
        return "updating", standing.reason
    return state, why


def _state_of_services(view: View, row: AppRow, states: dict[str, str]) -> tuple[str, str]:
    if view.plan.kind == WITHDRAWN:
        return ("updating", f"is being stopped: {view.plan.why}") if view.seen else ("stopped", view.plan.why)
    if view.plan.revision is None:
        return "failed", view.plan.why
    if view.leaving:
        return "updating", "the earlier revision is being stopped"
    worst = {state: name for name, state in reversed(states.items())}
    if "failed" in worst:
        name = worst["failed"]
        code = view.past[name].finished
        return "failed", f"{shown(name)} ended with exit code {code} and is not started again"
    for state, words in (("crash-loop", "is in a crash loop: it "), ("backoff", "")):
        if state in worst:
            name = worst[state]
            return "degraded", f"{shown(name)} {words}failed {view.past[name].failures} times in a row"
    for state in ("stopping", "starting", "waiting"):
        if state in worst:
            name = worst[state]
            why = view.waits.get(name) or f"is {state}"
            return ("degraded" if row.updated == view.plan.revision else "updating"), f"{shown(name)} {why}"
    if ill := next((name for name, (health, _) in view.health.items() if health == UNHEALTHY), ""):
        return "degraded", f"{shown(ill)} is not well: {view.health[ill][1]}"
    if unready := next((name for name, (ready, _) in view.ready.items() if not ready), ""):
        on_trial = view.standing is not None and view.standing.state == "trial"
        return "updating" if on_trial else "degraded", f"{shown(unready)} is not ready: {view.ready[unready][1]}"
    return ("degraded", view.plan.why) if view.plan.kind == UNREADABLE else ("ok", "")


def reported_app(
    view: View, row: AppRow, services: dict[str, ServiceRow], readings: dict[str, Readings], now: float
) -> dict[str, Any]:
    """One `ReportedApp`."""
    states = {unit.name: service_state(unit, view, now) for unit in view.plan.units}
    state, why = app_state(view, row, states)
    out: dict[str, Any] = {
        "app": view.plan.app,
        "state": state,
        "why": _text(why),
        "desired_release": view.plan.desired_release,
        "services": [
            _service(unit.name, states[unit.name], view, services.get(unit.name), readings.get(unit.name, NO_READINGS))
            for unit in view.plan.units
        ],
    }
    if view.plan.revision is not None and any(s.revision == view.plan.revision for s in view.seen.values()):
        out["revision"] = view.plan.revision
    if view.plan.sealed is not None and ("revision" in out or not view.seen):
        out["release"] = view.plan.sealed["release"]
    if view.standing is not None:
        out["verdict"] = reported(view.standing)
    return out


def _service(name: str, state: str, view: View, row: ServiceRow | None, read: Readings) -> dict[str, Any]:
    seen = view.seen.get(name)
    image = (
        next((s["image"] for s in view.plan.sealed["services"] if s["name"] == name), "") if view.plan.sealed else ""
    )
    out: dict[str, Any] = {
        "name": shown(name),
        "state": state,
        "restarts": row.restarts if row else 0,
        "oom_kills": max(row.oom_kills if row else 0, read.usage.oom_kills or 0),
        "image": _text(image),
    }
    optional = {
        "pid": seen.pid if seen else None,
        "started_at": int(seen.started_at) if seen and seen.pid is not None and seen.started_at is not None else None,
        "exit_code": row.last_exit if row else None,
        "sampled_at": read.at,
    } | {key: value for key, value in read.usage._asdict().items() if key != "oom_kills"}
    health, why = view.health.get(name, ("none", ""))
    ready, why_not = view.ready.get(name, (None, ""))
    out |= {"health": health} | ({"ready": ready} if ready is not None else {})
    said = why or why_not or (view.waits.get(name, "") if state == "waiting" else "")
    out |= {"why": _text(said)} if said else {}
    return out | {key: value for key, value in optional.items() if value is not None} | {"limits": known(read.limits)}


def known(limits: EnforcedLimits) -> dict[str, int]:
    """Those that the kernel holds."""
    return {key: value for key, value in limits._asdict().items() if value is not None}


def within_bounds(report: dict[str, Any]) -> bytes:
    """The report as bytes; what is least needed is left out of one that would be too long."""
    data = strict_json.dumps(report)
    for leave_out in (
        SELDOM_READ,
        (*MOVING, "started_at"),
        ("limits", "image", "why"),
        ("exit_code", "pid"),
    ):
        if len(data) <= MAX_REPORTED_BYTES:
            return data
        for app in report["apps"]:
            app["services"] = [{k: v for k, v in s.items() if k not in leave_out} for s in app["services"]]
        data = strict_json.dumps(report)
    if len(data) > MAX_REPORTED_BYTES:
        for app in report["apps"]:
            app["services"] = []
        data = strict_json.dumps(report)
    return data


def steady_part(report: dict[str, Any]) -> bytes:
    """What makes a report new: everything but the time and the figures that always move."""
    apps = [
        {k: v for k, v in app.items() if k != "verdict"}
        | {"services": [{k: v for k, v in s.items() if k not in MOVING} for s in app.get("services", ())]}
        | {"verdict": {k: v for k, v in app.get("verdict", {}).items() if k not in ("now", "before")}}
        for app in report["apps"]
    ]
    return strict_json.dumps(report | {"at": 0, "apps": apps})


def _text(text: str) -> str:
    return inert(text)[:MAX_TEXT]
