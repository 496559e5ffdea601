"""Who must hear at once that a release was withdrawn. Pure.

The server cannot stop anything by saying so: each device looks at the signed role itself. This only spares it the wait
for its daily look.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from fleet_protocol.trust.metadata_rules import RELEASE_PREFIX, app_of, as_targets, parse_role, role_extra
from fleet_server.store.records import DesiredRow


def concerned(role: str, data: bytes, rows: Iterable[DesiredRow]) -> list[str]:
    """Devices whose desired state names a release that `role` withdraws with `effect: stop`."""
    if not role.startswith(RELEASE_PREFIX):
        return []
    extra = role_extra(role, as_targets(parse_role(role, data)))
    app, stopped = app_of(role), {w.version for w in extra.withdrawals if w.effect == "stop"}
    return [row.device_id for row in rows if stopped and _runs(row, app) in stopped]


def _runs(row: DesiredRow, app: str) -> str:
    # The server's own document, verified when it was signed.
    apps = json.loads(row.payload).get("apps", ())
    return next((str(entry["release"]) for entry in apps if entry["app"] == app), "")
