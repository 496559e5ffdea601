"""Whether the health window of a release can tell what its `memorySlope` asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from fleet_protocol.documents.release import Health
from fleet_release.findings import Findings
from fleet_release.manifest.app_file import AppFile
from fleet_release.yaml_tree import Node, locate

LEAST_GROWTH_BYTES = 256 << 10
LEAST_GROWTH_PART = 200
WARM_UP_PART = 4
"""What a host calls growth: see `edge_daemon.keeper.slope`, with which a test compares these."""


def shortest_window_s(percent_per_h: int, memory_bytes: int) -> int:
    """The least window in which such a growth of a service with this limit is more than chance."""
    least = max(LEAST_GROWTH_BYTES, memory_bytes // LEAST_GROWTH_PART)
    per_second = max(1, percent_per_h) * memory_bytes / 100 / 3600
    return ceil(least / per_second / (1 - 1 / WARM_UP_PART))


def check_slope(app: AppFile, tree: Node, memory: Mapping[str, int], findings: Findings) -> None:
    """A note when the window is too short for the slope of some service; `memory`: the limit of each."""
    slope = app.health.memory_slope
    if slope is None:
        return
    window = app.health.window if app.health.window is not None else Health().window_s
    needs = {name: shortest_window_s(slope, limit) for name, limit in memory.items()}
    if not needs:
        return
    name = max(needs, key=lambda one: needs[one])
    if needs[name] > window:
        findings.note(
            "N0404",
            locate(tree, ("health", "memorySlope")),
            f"a window of {window} s cannot tell a growth of {slope}%/h of {name}: that takes {needs[name]} s",
        )
