"""What the judge is shown of an app on trial, and what it uses: from notes, probes and the kernel. Nothing is decided.

The kernel is read at every look for what it killed; the rest of the figures at most two dozen times in a window, and
once a minute after it.
"""

from __future__ import annotations

from edge_daemon.keeper.clock import TICKS_PER_SECOND
from edge_daemon.keeper.figures import SELDOM_S, Figures, Gauges, worst
from edge_daemon.keeper.judge import Facts, ProbeWord, Trial
from edge_daemon.keeper.plans import Plan
from edge_daemon.keeper.ports import Runtime, Seen
from edge_daemon.keeper.probes import rule_of, speaks_within
from edge_daemon.keeper.records import Records, TrialRow
from edge_daemon.keeper.slope import every
from edge_daemon.keeper.supervise import Wanted
from edge_daemon.sealed import ProbeValues, Revision, SealedService
from edge_daemon.slots import shown

SURVIVED_S = 1.5


class Evidence:
    """Of one keeper."""

    def __init__(self, records: Records, runtime: Runtime, since: float) -> None:
        self._records = records
        self._runtime = runtime
        self._since = since
        self._now = since  # of the last look
        self._killing_since: dict[tuple[str, str], float] = {}
        self._killed_before: dict[tuple[str, str], tuple[int | None, int]] = {}
        self._gauges = Gauges()

    def trial(
        self,
        plan: Plan,
        row: TrialRow | None,
        wanted: Wanted,
        observed: tuple[Seen, ...],
        stuck: dict[str, str],
        now: float,
        *,
        on_trial: bool,
        boot: str,
    ) -> Trial:
        """What `judge` needs to know; `row` is the trial of this revision, if there is one."""
        self._now = now
        sealed, app = plan.sealed, plan.app
        assert sealed is not None
        seen = {one.service: one for one in observed if one.pid is not None and one.revision == plan.revision}
        self._gauges.forget(app, {service["name"] for service in sealed["services"]})
        for service in sealed["services"]:
            if (one := seen.get(service["name"])) is not None:
                self._read(one, service, sealed, every(sealed["health_window_s"]) if on_trial else SELDOM_S)
        return Trial(
            begun=row.begun if row is not None and row.boot == boot else None,
            window_s=float(sealed["health_window_s"]),
            max_restarts=sealed["max_restarts"],
            services=tuple(
                self._service(sealed, service, seen.get(service["name"]), wanted, stuck)
                for service in sealed["services"]
            ),
            alone=all(one.revision == plan.revision for one in observed),
            watched_since=self._since,
            pardoned=bool(row is not None and row.failed),
            most_slope=sealed.get("memory_slope_percent_per_h"),
        )

    def figures(self, plan: Plan) -> Figures:
        """Of all services of a revision that are read."""
        found = []
        for service in plan.sealed["services"] if plan.sealed is not None else ():
            gauge = self._gauges.find(plan.app, service["name"], plan.revision or "")
            if gauge is not None:
                row = self._records.service(plan.app, service["name"], plan.revision or "")
                found.append(gauge.figures(service["limits"], row.restarts, self._now))
        return worst(found)

    def forget(self, app: str) -> None:
        """The app left this host."""
        self._gauges.forget(app)

    def _service(
        self, sealed: Revision, service: SealedService, one: Seen | None, wanted: Wanted, stuck: dict[str, str]
    ) -> Facts:
        app, revision, name = sealed["app"], sealed["revision"], service["name"]
        row, gauge = self._records.service(app, name, revision), self._gauges.find(app, name, revision)
        kills = self._kills(one) if one is not None else 0
        finished = wanted.past[name].finished if name in wanted.past else None
        same_run = one is not None and gauge is not None and gauge.run == one.start_ticks
        return Facts(
            shown(name),
            up_since=None if name in wanted.busy or one is None else started(one),
            completed=finished == 0,
            gave_up=finished or None,
            stuck=stuck.get(name, ""),
            restarts=row.restarts,
            oom_kills=max(row.oom_kills, kills),
            oom_kills_now=kills,
            exits=row.exits,
            failed_probes=row.failed_probes,
            probe=word_of(service, wanted),
            ill=wanted.failing.get(name) or wanted.unready.get(name, ""),
            speaks_within_s=max((speaks_within(rule_of(p)) for p in probes_of(service)), default=0.0),
            slope=gauge.slope if gauge is not None and same_run else None,
        )

    def _read(self, one: Seen, service: SealedService, sealed: Revision, often: float) -> None:
        row = self._records.service(one.app, one.service, one.revision)
        gauge = self._gauges.of(one.app, one.service, one.revision, self._now, row.restarts)
        used = self._runtime.usage(one.app, one.service)
        gauge.kills = used.oom_kills or 0
        if (up := started(one)) is not None and self._now >= gauge.taken + often:
            gauge.note(one, used, service["limits"], up, self._now, sealed["health_window_s"])

    def _kills(self, one: Seen) -> int:
        """What the kernel killed in the container that runs; not what it did before its limits alone were changed."""
        gauge = self._gauges.find(one.app, one.service, one.revision)
        count = gauge.kills if gauge is not None else 0
        row, key = self._records.trial(one.app), (one.app, one.service)
        if (known := self._killed_before.get(key)) is None or known[0] != one.start_ticks:
            before = row is not None and (started(one) or 0.0) < row.begun - 1
            known = self._killed_before[key] = one.start_ticks, count if before else 0
        if count == known[1]:
            self._killing_since.pop(key, None)
        # A container that ends of it is settled first, and that tells the story; what survives it counts a little later
        elif self._now >= self._killing_since.setdefault(key, self._now) + SURVIVED_S:
            return count - known[1]
        return 0


def started(one: Seen) -> float | None:
    """When this run of a container began, by CLOCK_BOOTTIME."""
    return one.start_ticks / TICKS_PER_SECOND if one.start_ticks is not None else None


def probes_of(service: SealedService) -> list[ProbeValues]:
    """Those that it has: whether it lives, whether it is ready."""
    return [probe for probe in (service.get("probe"), service.get("readiness")) if probe is not None]


def word_of(service: SealedService, wanted: Wanted) -> ProbeWord:
    """What its probes say of a service, together."""
    name = service["name"]
    if name in wanted.failing:
        return "unhealthy"
    if name in wanted.unready:
        return "unready"
    if name in wanted.probed:
        return "healthy" if name in wanted.healthy else "silent"
    return "silent" if probes_of(service) else "none"
