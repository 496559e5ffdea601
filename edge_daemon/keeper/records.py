"""What keeper.db knows of apps and services. Plain rows; deciding is `supervise`'s."""

from __future__ import annotations

from typing import NamedTuple

from edge_daemon.keeper.db import KeeperDb


class AppRow(NamedTuple):
    """One app: which revision was announced as running, and the last one that proved itself."""

    app: str
    updated: str = ""  # revision that was announced as running
    good_revision: str = ""
    good_seal: str = ""
    good_release: str = ""


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
            self._db.connection.execute("DELETE FROM apps WHERE app = ?", (app,))
            self._db.connection.execute("DELETE FROM services WHERE app = ?", (app,))
        self._apps.pop(app, None)
        self._services = {key: row for key, row in self._services.items() if key[0] != app}

    def known(self) -> set[str]:
        """Apps with a row."""
        return set(self._apps) | {app for app, _ in self._services}

    def good(self) -> set[tuple[str, str]]:
        """(app, revision) of every last good."""
        return {(row.app, row.good_revision) for row in self._apps.values() if row.good_revision}

    def _write(self, table: str, row: AppRow | ServiceRow) -> None:
        marks = ", ".join("?" * len(row))
        self._db.connection.execute(
            f"REPLACE INTO {table} ({', '.join(row._fields)}) VALUES ({marks})",  # noqa: S608  names are ours
            row,
        )
