"""`rollout` and `window` of fleet.yaml, compiled into the RolloutSpec that the server carries out."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from fleet_release.findings import Findings, did_you_mean
from fleet_release.manifest.fleet_models import FleetFile
from fleet_release.manifest.rollout_models import GATE, Budget, Gate, OpenTimes, OrderBy, Rollout, Wave, Window
from fleet_release.values import parse_percent
from fleet_release.yaml_tree import Node, locate

# What a wave can be measured by -> the unit it may be written with.
VALUES = {
    "healthy": "%",
    "failed": "%",
    "inconclusive": "%",
    "memory": "%",
    "cpu": "%",
    "pids": "%",
    "throttled": "%",
    "memorySlope": "%/h",
    "restartsPerHour": "",
    "oomsPerHour": "",
    "exitsPerHour": "",
    "probeFailuresPerHour": "",
}
SHARES = frozenset({"healthy", "failed", "inconclusive"})


def rollout_spec(file: FleetFile, tree: Node, findings: Findings) -> dict[str, Any]:
    """The specification as JSON values. Adds a finding for everything that cannot be carried out as written."""
    said = file.rollout or Rollout()
    out: dict[str, Any] = {
        "min_healthy_s": said.min_healthy,
        "soak_s": said.soak,
        "wave_timeout_s": said.wave_timeout,
        "progress_deadline_s": said.deadline,
        "veto_s": said.veto,
        "strategy": said.strategy,
        "on_fail": said.on_fail,
        "rollback_window_s": said.rollback_window,
        "quarantine": said.quarantine,
        "success": _percent(said.success),
        "preconditions": said.require or None,
        "order": None if isinstance(said.order, OrderBy) else said.order,
        "order_label": said.order.label if isinstance(said.order, OrderBy) else None,
        "max_parallel": None if said.max_parallel is None else _amount(said.max_parallel),
        "waves": _waves(said, tree, findings),
        "budgets": _budgets(said, tree, findings),
        "rate": _rate(said, tree, findings),
        "aborts": _aborts(said, tree, findings),
        "retries": {
            kind: _given({"times": r.times, "backoff_s": r.backoff, "maximum_s": r.max})
            for kind, r in said.retry.items()
        },
        "gates": [_gate(gate, i, tree, findings) for i, gate in enumerate(said.gates)],
        "offline": _offline(said),
    }
    if file.window is not None:
        out |= _windows(file.window, tree, findings)
    return _given(out)


def _waves(said: Rollout, tree: Node, findings: Findings) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    share = 0.0
    for i, wave in enumerate(said.waves):
        mark = locate(tree, ("rollout", "waves", i))
        sizes = wave.sizes()
        if sizes > 1 or (sizes == 0 and wave.select is None):
            findings.add("E0451", mark, "a wave says exactly one of devices, share, upTo, rest, or a selection alone")
        if wave.select is not None and (wave.up_to is not None or wave.rest):
            findings.add("E0451", mark, "a selection may be cut by devices or share, not by upTo or rest")
        if wave.share is not None and wave.select is None:
            findings.add("E0451", mark, "share is of a selection; a share of the fleet is upTo")
        if wave.rest and i != len(said.waves) - 1:
            findings.add("E0451", mark, "`rest` is the last wave")
        if wave.up_to is not None:
            now = parse_percent(wave.up_to)
            if now <= share:
                findings.add("E0451", mark, f"upTo {wave.up_to} is not more than the wave before it")
            share = now
        if wave.approvals is not None and wave.approvals.of and wave.approvals.need > len(set(wave.approvals.of)):
            findings.add("E0451", mark, f"{wave.approvals.need} approvals are needed and fewer people are named")
        out.append(_wave(wave, i))
    names = [w["name"] for w in out]
    for i, name in enumerate(names):
        if name in names[:i]:
            findings.add("E0451", locate(tree, ("rollout", "waves", i)), f"there is a wave {name} before this one")
    if not said.waves or not (said.waves[-1].rest or said.waves[-1].up_to == "100%"):
        # What no wave names is not forgotten: it comes last.
        out.append({"name": "rest" if "rest" not in names else f"rest after {len(names)}", "rest": True})
    return out


def _wave(wave: Wave, index: int) -> dict[str, Any]:
    name = wave.name
    if name is None and wave.rest:
        name = "rest"
    if name is None and wave.up_to is not None:
        name = f"to {wave.up_to}"
    if name is None and wave.select is not None:
        name = ",".join(f"{k}:{v}" for k, v in wave.select.items())[:64]
    approval = wave.approvals
    return _given(
        {
            "name": name or f"wave {index + 1}",
            "select": wave.select,
            "devices": wave.devices,
            "share": _percent(wave.share),
            "up_to": _percent(wave.up_to),
            "rest": wave.rest,
            "soak_s": wave.soak,
            "timeout_s": wave.timeout,
            "approval": None if approval is None else {"need": approval.need, "of": sorted(set(approval.of))},
        }
    )


def _budgets(said: Rollout, tree: Node, findings: Findings) -> list[dict[str, Any]]:
    grouped: dict[str | None, dict[str, Any]] = {}
    pairs = (("max_unavailable", "maxUnavailable"), ("min_available", "minAvailable"))
    for field, key in pairs:
        budget: Budget | None = getattr(said, field)
        if budget is None:
            continue
        if (budget.devices is None) == (budget.share is None):
            findings.add("E0451", locate(tree, ("rollout", key)), f"{key} says one of devices and share")
            continue
        if field == "max_unavailable" and (budget.devices == 0 or budget.share == "0%"):
            findings.add("E0451", locate(tree, ("rollout", key)), f"with {key} 0 no device could ever be updated")
            continue
        amount = _given({"devices": budget.devices, "share": _percent(budget.share)})
        grouped.setdefault(budget.per, _given({"per": budget.per}))[field] = amount
    return list(grouped.values())


def _rate(said: Rollout, tree: Node, findings: Findings) -> dict[str, Any] | None:
    rate = said.rate
    if rate is None:
        return None
    if rate.max is not None and rate.max < rate.per_minute:
        findings.add("E0451", locate(tree, ("rollout", "rate", "max")), "the largest rate is below the first one")
    return _given({"per_minute": rate.per_minute, "growth": rate.growth, "every": rate.every, "maximum": rate.max})


def _aborts(said: Rollout, tree: Node, findings: Findings) -> list[dict[str, Any]]:
    out = []
    for i, rule in enumerate(said.abort):
        if (rule.share is None) == (rule.count is None):
            findings.add("E0451", locate(tree, ("rollout", "abort", i)), "a rule to abort says one of share and count")
        out.append(_given({"on": rule.on, "share": _percent(rule.share), "count": rule.count, "sample": rule.sample}))
    if said.stop_at is not None:
        out.append({"share": parse_percent(said.stop_at)})
    return out


def _gate(gate: Gate, index: int, tree: Node, findings: Findings) -> dict[str, Any]:
    mark = locate(tree, ("rollout", "gates", index))
    out: dict[str, Any] = {
        "over": gate.over,
        "fail_at": gate.fail_at,
        "every_s": gate.every,
        "count": gate.count,
        "failures": gate.failures,
        "inconclusive": gate.inconclusive,
        "errors": gate.errors,
        "sample": gate.sample,
        "trend_s": gate.trend,
    }
    if (gate.expression is None) == (gate.metric is None):
        findings.add("E0451", mark, "a gate is an expression or a metric")
    elif gate.metric is not None:
        metric = gate.metric
        if (metric.max is None) == (metric.min is None):
            findings.add("E0451", mark, "a metric has one of max and min")
        limit, compare = (metric.max, "<=") if metric.max is not None else (metric.min, ">=")
        out |= {"text": f"{metric.app} {metric.name} {compare} {limit}", "app": metric.app, "value": metric.name}
        out |= {"compare": compare, "limit": limit or 0}
    else:
        out |= _expression(gate.expression or "", mark, findings)
    return _given(out)


def _expression(text: str, mark: Any, findings: Findings) -> dict[str, Any]:
    found = GATE.fullmatch(text)
    assert found is not None  # the model let nothing else through
    value, unit = found["value"], found["unit"] or ""
    old = unit.startswith("x")
    if value not in VALUES:
        known = ", ".join(VALUES)
        meant = did_you_mean(value, VALUES)
        findings.add("E0451", mark, f"a wave is not measured by {value}; it is by {known}", suggestion=meant)
    elif old and value in SHARES:
        findings.add("E0451", mark, f"{value} is a share of the wave and has no counterpart on the old release")
    elif not old and unit not in ("", VALUES[value]):
        wanted = f"is written with {VALUES[value]}" if VALUES[value] else "has no unit"
        findings.add("E0451", mark, f"{value} {wanted}, not with {unit}")
    if value in SHARES and float(found["limit"]) > 100:
        findings.add("E0451", mark, f"{value} is a share, at most 100 %")
    return {
        "text": text,
        "value": value,
        "compare": found["compare"],
        "limit": float(found["limit"]),
        "times_old": old,
    }


def _offline(said: Rollout) -> dict[str, Any]:
    if said.offline is None:
        return {}
    away = said.offline
    return _given({"policy": away.policy, "after_s": away.after, "at_most": _percent(away.at_most), "lost": away.lost})


def _windows(window: Window, tree: Node, findings: Findings) -> dict[str, Any]:
    zone = None if window.timezone == "device" else window.timezone
    for key, name in (("timezone", zone), ("fallback", window.fallback)):
        if name is not None and not _zone_exists(name):
            findings.add("E0454", locate(tree, ("window", key)), f"there is no time zone {name}, such as Europe/Paris")
    places = {"fallback": window.fallback} | _given({"zone": zone})
    out: dict[str, Any] = {"canary_anytime": window.canary_anytime}
    parts: list[tuple[str, OpenTimes, tuple[str | int, ...]]] = [("install_window", window, ("window", "cron"))]
    if isinstance(window.download, OpenTimes):
        parts.append(("download_window", window.download, ("window", "download", "cron")))
    elif window.download is None:
        # One window said: nothing is fetched outside it either.
        parts.append(("download_window", window, ("window", "cron")))
    for field, times, path in parts:
        if problem := _never(times.cron):
            findings.add("E0454", locate(tree, path), problem)
        if times.for_ < 60:
            findings.add("E0454", locate(tree, (*path[:-1], "for")), "a window is open for a minute at least")
        out[field] = {"cron": times.cron, "for_s": times.for_, **places}
    return out


def _never(cron: str) -> str:
    """Why `cron` names no time; nothing when it does."""
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(cron, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    except CronSimError as error:
        return f'"{cron}" is no cron: {str(error)[:1].lower()}{str(error)[1:]}'
    except StopIteration:
        return f'"{cron}" names a time that never comes'
    return ""


def _zone_exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True


def _percent(text: str | None) -> float | None:
    return None if text is None else parse_percent(text)


def _amount(value: int | str) -> dict[str, Any]:
    return {"devices": value} if isinstance(value, int) else {"share": parse_percent(value)}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Only what was said: the rest are the specification's defaults."""
    return {k: v for k, v in values.items() if v is not None}
