"""Limits of a service: what was said, nearest first; then small defaults, each of them shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_release.compose.model import ComposeService
from fleet_release.findings import Findings, Mark
from fleet_release.manifest.app_file import AppFile
from fleet_release.values import show_cpus, show_size

SMALL_DEFAULTS = {"memory_bytes": 64 << 20, "cpu_millis": 250, "pids": 64}
SHOWN: dict[str, tuple[str, Callable[[int], str]]] = {
    "memory_bytes": ("mem_limit", show_size),
    "cpu_millis": ("cpus", show_cpus),
    "pids": ("pids_limit", str),
}
Add = Callable[[str, str, str], None]


def complete_limits(app: AppFile, service: ComposeService, add: Add) -> dict[str, Any]:
    """app.yaml's `limits`, then the compose file, then app.yaml's `defaults`, then ours."""
    said = app.limits[service.name].values() if service.name in app.limits else {}
    out = {**service.limits, **said}
    for field, wanted in (
        ("memory_bytes", app.defaults.memory),
        ("cpu_millis", app.defaults.cpus),
        ("pids", app.defaults.pids),
    ):
        if field in out:
            continue
        out[field] = SMALL_DEFAULTS[field] if wanted is None else wanted
        name, show = SHOWN[field]
        add(name, show(out[field]), "default" if wanted is None else "default of app.yaml")
    return out


def maximum_limits(app: AppFile, name: str, limits: dict[str, Any], mark: Mark, findings: Findings) -> dict[str, Any]:
    """How far a later change may go without a new release: never below the limits themselves."""
    said = app.maximum[name].values()
    for field, value in said.items():
        current = limits.get(field)
        if isinstance(value, int) and isinstance(current, int) and value < current:
            findings.add("E0414", mark, f"maximum.{name}: {field} {value} is below the limit itself, {current}")
    return {**limits, **said}
