"""Noting what was observed, exactly once: an event and the row that remembers it, in one transaction.

A keeper that is killed between a container's end and its noting finds the same container again and notes it then; one
that is killed after it finds the row and is silent. So no event is lost or told twice.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.records import AppRow, Records, ServiceRow
from edge_daemon.keeper.supervise import CRASH_LOOP_AT, Past
from edge_daemon.sealed import Revision
from edge_daemon.slots import shown


class Journal:
    """Events and records of one keeper."""

    def __init__(self, db: KeeperDb, outbox: Outbox, records: Records, boot: str, wall: Callable[[], int]) -> None:
        self.db = db
        self.outbox = outbox
        self.records = records
        self._boot = boot
        self._wall = wall

    def say(
        self, kind: str, text: str, *, severity: str = "info", app: str | None = None, service: str | None = None
    ) -> None:
        """An event that stands by itself."""
        self.outbox.add(
            self._wall(), kind, text, severity=severity, app=app, service=shown(service) if service else None
        )

    def name(self, seen: Seen) -> str:
        """What distinguishes this run of a container from every other."""
        ticks = seen.start_ticks if seen.start_ticks is not None else seen.started_at
        return f"{self._boot}/{seen.revision[:16]}/{ticks}"

    def running(self, seen: Seen, release: str) -> None:
        """A container of the wanted revision runs."""
        row = self.records.service(seen.app, seen.service, seen.revision)
        if row.started == (name := self.name(seen)):
            return
        again = f" again, restart {row.restarts}" if row.started and row.restarts else ""
        with self.db.transaction():
            self.records.put_service(row._replace(started=name, finished=None))
            self.say(
                "container.started",
                f"{seen.app}/{shown(seen.service)} of release {release} started{again}",
                app=seen.app, service=seen.service,
            )  # fmt: skip

    def ended(self, seen: Seen, past: Past, ran_s: float, *, unwell: bool = False) -> bool:
        """A wanted container ended by itself, or because it was `unwell`; `past` is what follows from it.

        False if that was noted before.
        """
        row = self.records.service(seen.app, seen.service, seen.revision)
        if row.ended == (name := self.name(seen)):
            return False
        how = "was killed by the kernel: out of its memory limit" if seen.oom_killed else _how(seen.exit_code, unwell)
        text = f"{seen.app}/{shown(seen.service)} {how} after {_duration(ran_s)}{_next(past)}"
        good = seen.exit_code == 0 and past.finished == 0
        with self.db.transaction():
            self.records.put_service(_after(row, seen, past, name, self._boot))
            self.say(
                "container.oom" if seen.oom_killed else "container.completed" if good else "container.exited",
                text,
                severity="info" if good else "error" if past.finished is not None else "warn",
                app=seen.app, service=seen.service,
            )  # fmt: skip
            if past.failures == CRASH_LOOP_AT and past.finished is None:
                self.say(
                    "container.crash-loop",
                    f"{seen.app}/{shown(seen.service)} failed {past.failures} times in a row; "
                    "its restarts become slower",
                    severity="error", app=seen.app, service=seen.service,
                )  # fmt: skip
        return True

    def stopped(self, seen: Seen, *, killed: bool) -> None:
        """A container that is not wanted any more has ended, or is about to be killed."""
        name = self.name(seen)
        row = self.records.any_service(seen.app, seen.service) or ServiceRow(seen.app, seen.service, seen.revision)
        if row.ended == name or seen.started_at is None:
            return
        how = "did not stop within its grace and was killed" if killed else "stopped"
        with self.db.transaction():
            self.records.put_service(row._replace(ended=name))
            self.say("container.stopped", f"{seen.app}/{shown(seen.service)} {how}", app=seen.app, service=seen.service)

    def updated(self, app: str, revision: str, release: str, returned: str = "") -> None:
        """Every service of the wanted revision runs, for the first time; `returned`: why again."""
        row = self.records.app(app)
        if row.updated != revision:
            kind = "app.returned" if returned else "app.updated"
            text = (
                f"{app} runs its last good {release} again: {returned}" if returned else f"{app} runs release {release}"
            )
            with self.db.transaction():
                self.records.put_app(row._replace(updated=revision))
                self.say(kind, text, severity="warn" if returned else "info", app=app)

    def proven(self, app: str, seal: str, sealed: Revision, figures: str = "") -> None:
        """It ran whole for its health window: from now on it is what the app goes back to."""
        row = self.records.app(app)
        if row.good_revision == sealed["revision"]:
            return
        release = sealed["release"]
        with self.db.transaction():
            self.records.put_app(
                AppRow(app, row.updated, sealed["revision"], seal, release, figures, earlier_figures=row.good_figures)
            )
            self.records.end_trial(app)
            self.say(
                "app.good",
                f"{app} {release} was healthy for {_duration(sealed['health_window_s'])} and is now its last good",
                app=app,
            )

    def unproven(self, app: str, seal: str, sealed: Revision, figures: str, why: str) -> None:
        """It ran whole for its health window, and something could not be measured: it is no last good but for want of
        another.
        """
        row, release = self.records.app(app), sealed["release"]
        kept = f"{row.good_release} stays its last good" if row.good_revision else "it has no other last good"
        with self.db.transaction():
            if not row.good_revision:
                self.records.put_app(AppRow(app, row.updated, sealed["revision"], seal, release, figures))
            self.say(
                "app.inconclusive",
                f"{app} {release} ran whole for {_duration(sealed['health_window_s'])} and runs on, but is not proven: "
                f"{why}; {kept}",
                severity="warn", app=app,
            )  # fmt: skip

    def removed(self, app: str) -> None:
        """Nothing of the app is left on this host."""
        with self.db.transaction():
            self.records.forget(app)
            self.say("app.removed", f"{app} was removed from this host", app=app)


def _after(row: ServiceRow, seen: Seen, past: Past, name: str, boot: str) -> ServiceRow:
    return row._replace(
        ended=name,
        boot=boot,
        restarts=past.restarts,
        failures=past.failures,
        oom_kills=row.oom_kills + int(seen.oom_killed),
        finished=past.finished,
        last_exit=seen.exit_code,
        exits=row.exits + 1,
    )


def _how(code: int | None, unwell: bool) -> str:
    if unwell:
        return "was stopped, for it failed its probe,"
    if code is None:
        return "ended, nobody could tell how,"
    if code == 0:
        return "ended with success"
    return f"was ended by signal {code - 128}" if 128 < code < 128 + 65 else f"ended with exit code {code}"


def _next(past: Past) -> str:
    if past.finished == 0:
        return ""
    return "; it is not started again" if past.finished is not None else "; it is started again"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
