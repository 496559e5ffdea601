"""The fleet-server's HTTP API as a source: what is on the screen is read every two seconds, the rest now and then."""

from __future__ import annotations

import time
from typing import Any

from fleet_client.api import FleetClient
from fleet_client.contexts import Context
from fleet_client.http import ServerSaidError
from tui.model.actions import Act
from tui.model.rollouts import Rollout, rollout
from tui.model.rows import device_row, enrolment, fleet, happening, text_of
from tui.model.world import Batch
from tui.source.api import Wants

EVERY_S = 2.0
SELDOM_S = 10.0
DUTY = 10  # reading takes at most a tenth of the time
EVENTS = 1000
NOT_FOUND = 404


class ServerSource:
    """Two connections: one that reads, one that changes. Neither repeats a change by itself."""

    def __init__(self, context: Context) -> None:
        self._reader = FleetClient(context)
        self._writer = FleetClient(context)
        self._read_at: dict[str, float] = {}
        self._took = 0.0

    def read(self, wants: Wants) -> Batch:
        """Devices always; the rest when it is looked at, and every ten seconds."""
        began = time.monotonic()
        client = self._reader
        parts: dict[str, Any] = {"devices": tuple(device_row(v) for v in client.devices())}
        if self._due("fleets", wants.page in ("fleets", "overview"), began):
            parts["fleets"] = tuple(fleet(f) for f in client.fleets())
        if self._due("enrolments", wants.page in ("enrolments", "overview"), began):
            parts["enrolments"] = tuple(enrolment(e) for e in client.enrolments())
        if self._due("rollouts", wants.page in ("rollouts", "rollout", "overview"), began):
            parts["rollouts"] = self._rollouts(wants)
        if wants.page == "events":
            parts["events"] = tuple(happening(e) for e in client.events(wants.about or None, EVENTS))
        if wants.device:
            try:
                parts["details"] = client.device(wants.device)
            except ServerSaidError as error:
                if error.status != NOT_FOUND:  # it went just now
                    raise
        if not self._read_at.get("who"):
            who = client.whoami()
            parts["who"] = (text_of(who.get("name")), text_of(who.get("role")))
            self._read_at["who"] = began
        self._took = time.monotonic() - began
        return Batch(**parts)

    def _rollouts(self, wants: Wants) -> tuple[Rollout, ...]:
        """The one on the screen with its causes, which a list leaves out."""
        found = [rollout(view) for view in self._reader.rollouts()]
        if wants.page != "rollout":
            return tuple(found)
        return tuple(rollout(self._reader.rollout(r.ident)) if r.ident == wants.about else r for r in found)

    def do(self, act: Act, target: str, reason: str) -> str:
        """One call."""
        match act.verb:
            case "approve" | "reject":
                row = self._writer.decide_enrolment(target, approve=act.verb == "approve")
                return f"{'approved' if act.verb == 'approve' else 'rejected'} {row.get('device_id') or target}"
            case "decommission":
                self._writer.revoke_device(target)
                return f"{target} is out of the fleet"
            case "start" | "pause" | "resume" | "promote" | "revert":
                view = rollout(self._writer.ask_rollout(target, act.verb, reason=reason))
                return f"{view.title} is {view.state}"
            case _:
                raise AssertionError(act.verb)

    def pause_s(self) -> float:
        """Longer for a fleet that takes long to read."""
        return max(EVERY_S, DUTY * self._took)

    def close(self) -> None:
        """Close both connections."""
        self._reader.connection.close()
        self._writer.connection.close()

    def _due(self, what: str, shown: bool, now: float) -> bool:
        if now - self._read_at.get(what, float("-inf")) < (EVERY_S / 2 if shown else SELDOM_S):
            return False
        self._read_at[what] = now
        return True
