"""What keeper.db knows of apps and services. Plain rows; deciding is `supervise`'s."""

from __future__ import annotations

from typing import Any, NamedTuple

from edge_daemon.keeper.db import KeeperDb
from edge_daemon.slots import twin


class AppRow(NamedTuple):
    """One app: which revision was announced as running, and the last one that proved itself."""

    app: str
    updated: str = ""  # revision that was announced as running
    good_revision: str = ""
    good_seal: str = ""
    good_release: str = ""
    good_figures: str = ""  # `figures.Figures` of the last good as JSON
    earlier_figures: str = ""  # ... and of the one before it


class ServiceRow(NamedTuple):
    """One service in the revision that was last started.

    `started` and `ended` name the container last noted as such.
    """

    app: str
    service: str
    revision: str
    started: str = ""
    ended: str = ""
    boot: str = ""  # in which it ended for good
    restarts: int = 0
    failures: int = 0  # in a row
    oom_kills: int = 0
    finished: int | None = None  # exit code with which it ended for good
    last_exit: int | None = None
    exits: int = 0  # ends that nobody asked for
    failed_probes: int = 0  # times that its probe made it unhealthy


class TrialRow(NamedTuple):
    """The revision of an app that is on trial, or was until it failed with nothing to go back to."""

    app: str
    revision: str
    boot: str  # in which it was last started
    tries: int  # boots in which it was started, counted before its first container is
    begun: float  # CLOCK_BOOTTIME of that boot
    failed: str = ""
    code: str = ""  # of `failed` or `unproven`
    unproven: str = ""  # its trial is over and inconclusive: it runs on, and nobody judges it any more


class QuarantineRow(NamedTuple):
    """A revision that is not started again on this host."""

    app: str
    revision: str
    release: str
    reason: str
    actor: str  # JUDGE or OPERATOR
    at: int
    restarts: int = 0
    oom_kills: int = 0
    window_s: int = 0
    code: str = ""
    exits: int = 0
    failed_probes: int = 0
    figures: str = ""


class HoldRow(NamedTuple):
    """An operator on this host wants this revision and no other, until then."""

    app: str
    revision: str
    seal: str
    release: str
    until: int  # for people; what counts is:
    length: int
    boot: str
    until_boottime: float


Row = AppRow | ServiceRow | TrialRow | QuarantineRow | HoldRow

JUDGE, OPERATOR = "judge", "operator"

MOST_QUARANTINED = 32
"""Of one app; the oldest give way. Far more than the releases that a host sees in the life of a generation."""


class Records:
    """Rows by name, read once and written through."""

    def __init__(self, db: KeeperDb) -> None:
        self._db = db
        self.reload()

    def reload(self) -> None:
        """Read everything from the file: at the start, and after a write that failed."""
        execute = self._db.connection.execute
        self._apps = {row[0]: AppRow(*row) for row in execute(f"SELECT {', '.join(AppRow._fields)} FROM apps")}  # noqa: S608
        rows = [ServiceRow(*r) for r in execute(f"SELECT {', '.join(ServiceRow._fields)} FROM services")]  # noqa: S608
        self._services = {(row.app, row.service): row for row in rows}
        self._trials = {row[0]: TrialRow(*row) for row in self._all("trials", TrialRow._fields)}
        self._quarantine = {(r[0], r[1]): QuarantineRow(*r) for r in self._all("quarantine", QuarantineRow._fields)}
        self._holds = {row[0]: HoldRow(*row) for row in self._all("holds", HoldRow._fields)}

    def _all(self, table: str, fields: tuple[str, ...]) -> list[tuple[Any, ...]]:
        return self._db.connection.execute(f"SELECT {', '.join(fields)} FROM {table}").fetchall()  # noqa: S608  ours

    def app(self, app: str) -> AppRow:
        """What is known of an app; nothing yet is an empty row."""
        return self._apps.get(app) or AppRow(app)

    def service(self, app: str, service: str, revision: str) -> ServiceRow:
        """What is known of a service in this revision; what another revision did does not count."""
        row = self._services.get((app, service))
        return row if row is not None and row.revision == revision else ServiceRow(app, service, revision)

    def any_service(self, app: str, service: str) -> ServiceRow | None:
        """What is known of a service in whichever revision was last noted."""
        return self._services.get((app, service))

    def services(self, app: str, revision: str) -> list[ServiceRow]:
        """What is known of the services of an app in this revision."""
        return [row for row in self._services.values() if (row.app, row.revision) == (app, revision)]

    def put_app(self, row: AppRow) -> None:
        """Remember."""
        if self._apps.get(row.app) != row:
            self._write("apps", row)
            self._apps[row.app] = row

    def put_service(self, row: ServiceRow) -> None:
        """Remember; another revision's row is replaced."""
        if self._services.get((row.app, row.service)) != row:
            self._write("services", row)
            self._services[row.app, row.service] = row

    def forget(self, app: str) -> None:
        """The app left this host."""
        with self._db.transaction():
            for table in ("apps", "services", "trials", "quarantine", "holds"):
                self._db.connection.execute(f"DELETE FROM {table} WHERE app = ?", (app,))  # noqa: S608  ours
        self.reload()

    def known(self) -> set[str]:
        """Apps with a row."""
        return set(self._apps) | {app for app, _ in self._services} | set(self._trials) | set(self._holds)

    # -- trials, quarantine, holds

    def trial(self, app: str) -> TrialRow | None:
        """The newest trial of an app."""
        return self._trials.get(app)

    def put_trial(self, row: TrialRow) -> None:
        """Remember; the trial of another revision is replaced."""
        self._write("trials", row)
        self._trials[row.app] = row

    def end_trial(self, app: str) -> None:
        """It is over."""
        self._db.connection.execute("DELETE FROM trials WHERE app = ?", (app,))
        self._trials.pop(app, None)

    def quarantined(self, app: str, revision: str) -> QuarantineRow | None:
        """Why this revision is not started again, or None; in the other slot it is the same."""
        return self._quarantine.get((app, revision)) or self._quarantine.get((app, twin(revision)))

    def put_quarantine(self, row: QuarantineRow) -> None:
        """Remember, and forget the oldest of very many."""
        with self._db.transaction():
            self._write("quarantine", row)
            kept = sorted((r for r in (*self._quarantine.values(), row) if r.app == row.app), key=lambda r: r.at)
            for old in kept[:-MOST_QUARANTINED]:
                self._db.connection.execute(
                    "DELETE FROM quarantine WHERE app = ? AND revision = ?", (old.app, old.revision)
                )
        self._quarantine[row.app, row.revision] = row

    def any_quarantined(self, app: str) -> bool:
        """Whether any revision of the app is not started again."""
        return any(row.app == app for row in self._quarantine.values())

    def lift(self, app: str) -> list[QuarantineRow]:
        """Forget the app's quarantine, and what its revisions did before, so that they are tried afresh.

        A trial of another revision goes on: it would be counted and announced twice.
        """
        rows = [row for row in self._quarantine.values() if row.app == app]
        with self._db.transaction():
            for row in rows:
                for table in ("services", "quarantine", "trials"):
                    self._db.connection.execute(
                        f"DELETE FROM {table} WHERE app = ? AND revision = ?",  # noqa: S608  ours
                        (app, row.revision),
                    )
        self.reload()
        return rows

    def hold(self, app: str) -> HoldRow | None:
        """The hold on an app, or None."""
        return self._holds.get(app)

    def holds(self) -> list[HoldRow]:
        """All of them."""
        return list(self._holds.values())

    def put_hold(self, row: HoldRow) -> None:
        """Remember; an earlier one is replaced."""
        self._write("holds", row)
        self._holds[row.app] = row

    def end_hold(self, app: str) -> None:
        """It is over."""
        self._db.connection.execute("DELETE FROM holds WHERE app = ?", (app,))
        self._holds.pop(app, None)

    def good(self) -> set[tuple[str, str]]:
        """(app, revision) of every last good."""
        return {(row.app, row.good_revision) for row in self._apps.values() if row.good_revision}

    def _write(self, table: str, row: Row) -> None:
        marks = ", ".join("?" * len(row))
        self._db.connection.execute(
            f"REPLACE INTO {table} ({', '.join(row._fields)}) VALUES ({marks})",  # noqa: S608  names are ours
            row,
        )
