"""What the local socket answers. See `local_client.ask` for the questions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from edge_daemon.keeper.clock import boottime
from edge_daemon.keeper.errors import AskError
from edge_daemon.keeper.loop import Supervisor
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.reporter import Reporter
from edge_daemon.layout import Layout
from edge_daemon.slots import shown

MOST_EVENTS = 10_000


class Answers:
    """What is asked changes nothing, but for the acts of an operator on this host: rollback, hold, lift."""

    def __init__(
        self,
        layout: Layout,
        reporter: Reporter,
        supervisor: Supervisor,
        outbox: Outbox,
        connection: Callable[[], dict[str, Any]],
    ) -> None:
        self._layout = layout
        self._reporter = reporter
        self._supervisor = supervisor
        self._outbox = outbox
        self._connection = connection

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One answer. Raises AskError."""
        match asked.get("ask"):
            case "status":
                return self._status()
            case "ps" | "top":
                return {"containers": self._containers()}
            case "events":
                return {"events": self._events(asked.get("count"))}
            case "logs":
                return self._logs(asked.get("app"), asked.get("service"))
            case "modules":
                return {"modules": sorted(sys.modules), "pid": os.getpid()}
            case "rollback" | "hold" | "lift" as act:
                return {"app": asked.get("app"), "done": self._act(act, asked.get("app"), asked.get("seconds"))}
        raise AskError("knows status, ps, top, events, logs, rollback, hold, lift and modules")

    def _act(self, act: str, app: object, seconds: object) -> str:
        """In words, what was done. Durable when this returns; the loop follows it on its next turn."""
        wanted = self._supervisor.plans.get(app) if isinstance(app, str) else None
        if wanted is None:
            raise self._no_such_app(app)
        trials = self._supervisor.trials
        if act == "rollback":
            done = trials.roll_back(wanted)
        elif act == "lift":
            done = trials.lift(wanted.app)
        elif type(seconds) is not int:
            raise AskError("a hold wants its length in whole seconds", element=wanted.app)
        elif seconds:
            done = trials.hold(wanted, seconds, boottime())
        elif not (done := self._supervisor.vetoes.overrule(wanted.app)):
            done = trials.release(wanted.app, "ended by an operator on this host")
        self._supervisor.replan(wanted.app)
        return done

    def _no_such_app(self, app: object) -> AskError:
        there = ", ".join(sorted(self._supervisor.plans))
        hint = f"on this host: {there}" if there else ""
        return AskError("no such app is on this host", element=str(app)[:64], hint=hint)

    def _status(self) -> dict[str, Any]:
        return {
            "report": self._reporter.build(boottime()),
            "pending_events": self._outbox.pending,
            **self._connection(),
        }

    def _events(self, count: object) -> list[dict[str, object]]:
        rows = self._outbox.recent(min(count, MOST_EVENTS) if type(count) is int else 50)
        through = self._outbox.through
        return [row.fields() | {"sent": row.seq is not None and row.seq <= through} for row in rows]

    def _containers(self) -> list[dict[str, Any]]:
        apps = self._reporter.build(boottime())["apps"]
        keys = ("app", "release", "revision")
        return [
            {key: app.get(key) for key in keys} | service | self._reporter.read_at(app["app"], service["name"])
            for app in apps
            for service in app.get("services", [])
        ]

    def _logs(self, app: object, service: object) -> dict[str, Any]:
        view = self._supervisor.views.get(app) if isinstance(app, str) else None
        if view is None:
            raise self._no_such_app(app)
        names = [shown(name) for name in [unit.name for unit in view.plan.units] or sorted(view.seen)]
        if not service and len(names) == 1:
            service = names[0]
        if service not in names:
            raise AskError(f"name one of its services: {', '.join(names)}", element=str(app))
        unit = self._supervisor.unit(str(app), str(service))
        log = str(self._layout.logs / str(app) / unit / "ctr.log")
        return {"path": log, "service": service, "open": [log, f"{log}.1"]}
