"""Containers that are ended because their probe failed: which, and why. Durable, so that every such end has its cause.

A keeper that is killed between asking a container to end and noting its end finds here that the end was not its own
wish: it counts as a failure, whatever its exit code, and is told once.
"""

from __future__ import annotations

import json

from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.supervise import Unit
from edge_daemon.slots import shown

KEY = "failing"
MOST_WORDS = 300


class Failing:
    """One entry for each service: the run of its container that failed, and the words."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[str, list[str]] = json.loads(journal.db.get(KEY) or "{}")

    def why(self, seen: Seen) -> str:
        """Why this run of a container has been asked to end, or ""."""
        known = self._known.get(f"{seen.app}/{seen.service}")
        return known[1] if known is not None and known[0] == self._journal.name(seen) else ""

    def among(
        self, observed: tuple[Seen, ...], revision: str | None, units: tuple[Unit, ...], failing: dict[str, str]
    ) -> dict[str, str]:
        """What the probes say now, and what has been asked to end for what they said before."""
        out: dict[str, str] = {}
        policies = {unit.name: unit.policy for unit in units}
        for one in observed:
            if one.pid is None or one.revision != revision:
                continue
            if why := self.why(one) or failing.get(one.service, ""):
                out[one.service] = why
                if policies.get(one.service) == "no":
                    self.leave(one, why)
        return out

    def restart(self, seen: Seen, why: str) -> None:
        """It is about to be asked to end: say so first."""
        if not self.why(seen):
            self._put(seen, [self._journal.name(seen), why[:MOST_WORDS]], "it is stopped and started again", why)

    def leave(self, seen: Seen, why: str) -> None:
        """It runs on although its probe failed, for its policy is never to start it again."""
        name = self._journal.name(seen)
        if self._known.get(f"{seen.app}/{seen.service}", [""])[0] != name:
            self._put(seen, [name, ""], "it is left running, for its restart policy is `no`", why)

    def forget(self, app: str) -> None:
        """The app left this host."""
        kept = {key: entry for key, entry in self._known.items() if key.partition("/")[0] != app}
        if kept != self._known:
            self._known = kept
            self._journal.db.put(KEY, json.dumps(kept))

    def _put(self, seen: Seen, entry: list[str], then: str, why: str) -> None:
        known = {**self._known, f"{seen.app}/{seen.service}": entry}
        records = self._journal.records
        row = records.service(seen.app, seen.service, seen.revision)
        with self._journal.db.transaction():
            records.put_service(row._replace(failed_probes=row.failed_probes + 1))
            self._journal.db.put(KEY, json.dumps(known))
            self._journal.say(
                "probe.failed",
                f"{seen.app}/{shown(seen.service)} failed its probe: {why[:MOST_WORDS]}; {then}",
                severity="warn", app=seen.app, service=seen.service,
            )  # fmt: skip
        self._known = known
