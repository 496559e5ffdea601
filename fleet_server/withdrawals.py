"""Who must hear at once that a release was withdrawn. Pure.

The server cannot stop anything by saying so: each device looks at the signed role itself. This only spares it the wait
for its daily look.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from fleet_protocol.trust.metadata_rules import RELEASE_PREFIX, app_of, as_targets, parse_role, role_extra
from fleet_server.store.records import DesiredRow, ReportedRow


def concerned(role: str, data: bytes, desired: Iterable[DesiredRow], reported: Iterable[ReportedRow]) -> list[str]:
    """Devices that shall run, or say that they run, a release that `role` withdraws with `effect: stop`."""
    if not role.startswith(RELEASE_PREFIX):
        return []
    extra = role_extra(role, as_targets(parse_role(role, data)))
    app, stopped = app_of(role), {w.version for w in extra.withdrawals if w.effect == "stop"}
    if not stopped:
        return []
    # Both were parsed and bounded when they were stored.
    told = [(row.device_id, row.payload) for row in desired] + [(row.device_id, row.document) for row in reported]
    return sorted({device_id for device_id, document in told if _release(document, app) in stopped})


def _release(document: bytes, app: str) -> str | None:
    apps = json.loads(document).get("apps", ())
    return next((entry.get("release") for entry in apps if entry["app"] == app), None)
