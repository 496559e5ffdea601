"""Everything that a verifier must remember, in one SQLite file: metadata of each role, every root, floors.

WAL with `synchronous=FULL`: a commit survives a power cut, and each one is then moved into the main file, so that the
log may be lost as well. What is stored is read back with its hash, and the floors carry one hash over all of them. A
file that is missing beside other state, or does not read as written, is an alarm and a refusal, never a first run.

One process opens it at a time (prepare holds its lock for life).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet_protocol.trust.errors import AlarmError
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.durable import sync_directory

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS roots (version INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS roles
 (role TEXT PRIMARY KEY, version INTEGER NOT NULL, sha256 TEXT NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS targets (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS floors (app TEXT PRIMARY KEY, epoch TEXT NOT NULL, min_counter INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS apps (app TEXT PRIMARY KEY, release TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT;
"""
_FLOORS = (
    "SELECT key, value FROM meta WHERE key <> 'seal' ORDER BY key",
    "SELECT * FROM floors ORDER BY app",
    "SELECT * FROM apps ORDER BY app",
)


@dataclass(frozen=True)
class AcceptedState:
    """The newest desired state that was accepted; `sealed` when its generation is ready to run."""

    generation: int
    sha256: str
    sealed: bool


class TrustStore:
    """The trust state of one verifier."""

    def __init__(self, path: Path | None, *, expect_existing: bool = False) -> None:
        """Opens or makes the file; None keeps everything in memory (the engineer's side).

        `expect_existing`: other state shows that this is no first run. Raises AlarmError for state that is missing
        then, or is damaged at any time.
        """
        self._path = path
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = path.stat().st_size if path is not None and path.exists() else 0
        if expect_existing and size == 0:
            raise AlarmError(
                "the trust database is missing or empty beside other state: refusing to begin anew", element=str(path)
            )
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        try:
            self._open(first=size == 0)
        except sqlite3.Error as error:
            self._db.close()
            raise self._damaged(error) from error
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Needed by tests and long-lived callers only; every commit was durable already."""
        self._db.close()

    # --- TUF metadata

    def pin(self, root: bytes) -> None:
        """Bind this store to one root of version 1, once and for all."""
        sha256 = _hash(root)
        with self._reading():
            known = self._get("pinned_root")
        if known is None:
            with self._writing():
                self._set("pinned_root", sha256)
        elif known != sha256:
            raise AlarmError("the pinned root is not the one that this state was made with", element="root")

    def role(self, role: str) -> bytes | None:
        """The newest metadata of `role` that was verified."""
        with self._reading():
            row = self._db.execute("SELECT data, sha256 FROM roles WHERE role = ?", (role,)).fetchone()
        return None if row is None else self._checked(row[0], row[1], role)

    def role_version(self, role: str) -> int:
        """Its version, 0 for none."""
        with self._reading():
            row = self._db.execute("SELECT version FROM roles WHERE role = ?", (role,)).fetchone()
        return 0 if row is None else int(row[0])

    def put_role(self, role: str, version: int, data: bytes) -> None:
        """Keep verified metadata."""
        with self._writing():
            self._db.execute("REPLACE INTO roles VALUES (?, ?, ?, ?)", (role, version, _hash(data), data))

    def roots(self) -> list[tuple[int, bytes]]:
        """Every verified root, ascending."""
        with self._reading():
            rows = self._db.execute("SELECT version, data, sha256 FROM roots ORDER BY version").fetchall()
        return [(int(v), self._checked(data, sha256, f"root {v}")) for v, data, sha256 in rows]

    def put_root(self, version: int, data: bytes) -> None:
        """Keep a verified root."""
        with self._reading():
            known = self._db.execute("SELECT sha256 FROM roots WHERE version = ?", (version,)).fetchone()
        if known is None or known[0] != _hash(data):
            with self._writing():
                self._db.execute("REPLACE INTO roots VALUES (?, ?, ?)", (version, _hash(data), data))

    def target(self, sha256: str) -> bytes | None:
        """A target that was fetched before, by its hash."""
        with self._reading():
            row = self._db.execute("SELECT data FROM targets WHERE sha256 = ?", (sha256,)).fetchone()
        # Only a cache: what no longer has its hash is fetched again.
        return bytes(row[0]) if row is not None and _hash(row[0]) == sha256 else None

    def put_target(self, data: bytes) -> None:
        """Keep a verified target."""
        with self._writing():
            self._db.execute("REPLACE INTO targets VALUES (?, ?)", (_hash(data), data))

    # --- floors

    def accepted(self) -> AcceptedState | None:
        """The newest accepted desired state."""
        with self._reading():
            generation, sha256, sealed = (self._get(k) for k in ("generation", "sha256", "sealed"))
        if generation is None or sha256 is None:
            return None
        return AcceptedState(int(generation), sha256, sealed == "1")

    def accepted_apps(self) -> dict[str, tuple[str, str]]:
        """App -> (release, its hash) of the newest accepted desired state."""
        with self._reading():
            return {a: (r, s) for a, r, s in self._db.execute("SELECT app, release, sha256 FROM apps ORDER BY app")}

    def accept(self, generation: int, sha256: str, apps: dict[str, tuple[str, str]]) -> None:
        """From here on nothing older, and nothing else of this generation. Repeating it changes nothing."""
        now = self.accepted()
        if now is not None and (generation, sha256) != (now.generation, now.sha256) and generation <= now.generation:
            raise AlarmError(
                f"generation {generation} is not above the accepted {now.generation}", element="desired state"
            )
        with self._writing():
            if now is None or generation > now.generation:
                for key, value in (("generation", str(generation)), ("sha256", sha256), ("sealed", "0")):
                    self._set(key, value)
            self._db.execute("DELETE FROM apps")
            self._db.executemany("INSERT INTO apps VALUES (?, ?, ?)", [(a, *v) for a, v in apps.items()])

    def sealed(self, generation: int, sha256: str, keep_targets: set[str]) -> None:
        """The accepted generation is ready to run. Forgets cached targets other than `keep_targets`."""
        now = self.accepted()
        if now is None or (now.generation, now.sha256) != (generation, sha256):
            raise AlarmError(
                f"generation {generation} was sealed without having been accepted", element="desired state"
            )
        with self._writing():
            self._set("sealed", "1")
            marks = ",".join("?" * len(keep_targets))
            self._db.execute(f"DELETE FROM targets WHERE sha256 NOT IN ({marks})", tuple(sorted(keep_targets)))  # noqa: S608

    def floor(self, app: str, epoch: str) -> int:
        """The highest `min_counter` seen for `app` under the keys that `epoch` names."""
        with self._reading():
            row = self._db.execute(
                "SELECT min_counter FROM floors WHERE app = ? AND epoch = ?", (app, epoch)
            ).fetchone()
        return 0 if row is None else int(row[0])

    def raise_floor(self, app: str, epoch: str, min_counter: int) -> None:
        """Never lowers it, but for new keys of the app's role: only the off-line targets role can name those."""
        if min_counter > self.floor(app, epoch):
            with self._writing():
                self._db.execute("REPLACE INTO floors VALUES (?, ?, ?)", (app, epoch, min_counter))

    # --- clock and authorities

    def number(self, key: str) -> int:
        """A number kept under `key`, 0 for none."""
        with self._reading():
            return int(self._get(key) or 0)

    def put_numbers(self, **numbers: int) -> None:
        """Keep numbers, all in one step."""
        with self._writing():
            for key, value in numbers.items():
                self._set(key, str(value))

    def text(self, key: str) -> str | None:
        """A text kept under `key`."""
        with self._reading():
            return self._get(key)

    def put_text(self, key: str, value: str) -> None:
        """Keep a text."""
        with self._writing():
            self._set(key, value)

    # --- inside

    def _open(self, *, first: bool) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if first:
            with self._writing(create=True):
                self._set("schema", "1")
            if self._path is not None:
                sync_directory(self._path.parent)
            return
        if [row[0] for row in self._db.execute("PRAGMA quick_check")] != ["ok"]:
            raise self._damaged("SQLite finds it malformed")
        if self._get("schema") != "1" or self._get("seal") != self._seal():
            raise self._damaged("its floors do not have the hash that was written with them")

    def _get(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, key: str, value: str) -> None:
        self._db.execute("REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _seal(self) -> str:
        return _hash(strict_json.dumps([self._db.execute(query).fetchall() for query in _FLOORS]))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(error) from error

    @contextmanager
    def _writing(self, *, create: bool = False) -> Iterator[None]:
        """One transaction, durable when this returns, and whole in the main file."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if create:
                    for statement in _SCHEMA.strip().split(";\n"):
                        self._db.execute(statement)
                yield
                self._set("seal", self._seal())
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                # No room, or no right to write: the state is whole, and the same step may succeed later.
                raise AlarmError(
                    f"the trust database cannot be written: {error}", element=str(self._path), retry=True
                ) from error
            raise self._damaged(error) from error

    def _checked(self, data: bytes, sha256: str, what: str) -> bytes:
        if _hash(data) != sha256:
            raise self._damaged(f"stored {what} does not have its hash")
        return bytes(data)

    def _damaged(self, why: object) -> AlarmError:
        return AlarmError(f"the trust database is damaged ({why}): refusing to begin anew", element=str(self._path))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
