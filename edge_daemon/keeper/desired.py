"""From a message on `desired` to an accepted generation: write it down, run prepare, read its outcome.

One prepare at a time. One that a keeper before us left behind is found by the lock it holds, and ended.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from edge_daemon.keeper.children import Child, Children
from edge_daemon.keeper.clock import NEVER, boottime
from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.desired_queue import Claim, DesiredQueue, Document, document
from edge_daemon.keeper.errors import KeeperError, StateError
from edge_daemon.keeper.sealed_state import read_index
from edge_daemon.layout import Layout
from edge_daemon.sealed import Index
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES, MAX_INTEGER
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import RoadsteadError, inert

SILENCE_S = 300.0
DEADLINE_S = 6 * 3600.0
LOOK_AT_LOCK_S = 0.5
ORPHAN_GRACE_S = 5.0
TRIES_KEPT = 16


class Acceptor(Protocol):
    """Who is told."""

    def document_accepted(self, index: Index) -> None:
        """A generation is sealed; run it. Called again for one that is accepted already."""

    def document_refused(self, error: dict[str, Any], generation: int | None) -> None:
        """It will not be run; the error says why, and whether it is tried again."""

    def document_progress(self) -> None:
        """Prepare has come further; `progress` says where it is."""

    def document_quarantined(self, digest: str) -> None:
        """Prepare ended three times without an outcome on it."""


class Desired:
    """The keeper's side of prepare."""

    def __init__(
        self,
        layout: Layout,
        db: KeeperDb,
        children: Children,
        acceptor: Acceptor,
        command: Callable[[str], list[str]],
        *,
        accepted: Claim | None,
        boot: str,
        chance: Callable[[], float],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.progress = ""
        self._layout = layout
        self._db = db
        self._children = children
        self._acceptor = acceptor
        self._command = command
        self._boot = boot
        self._chance = chance
        self._silence = silence_s
        self._child: Child | None = None
        self._reading = ""  # the file that the present prepare was given
        self._outcome: dict[str, Any] | None = None
        self._sequence = 0
        self._written: Document | None = None
        self._orphan_since: float | None = None
        self._look_at = 0.0
        self.queue = DesiredQueue(accepted, self._read_tries())
        os.makedirs(layout.incoming, 0o700, exist_ok=True)
        for name in os.listdir(layout.incoming):  # `desired` is retained: it comes again
            os.unlink(f"{layout.incoming}/{name}")

    def message(self, payload: bytes, properties: list[tuple[str, str]]) -> None:
        """A message on `desired`. An empty one means that the server has taken the retained document away."""
        if not payload:
            return
        if len(payload) > MAX_DESIRED_BYTES:
            error = KeeperError(
                f"it has {len(payload)} bytes, at most {MAX_DESIRED_BYTES} are allowed", element="desired state"
            )
            error.phase = "receiving"
            self._acceptor.document_refused(error.as_dict(), None)
            return
        self.queue.offer(document(payload, properties))

    def step(self, now: float) -> float:
        """Write down and start what is due. When to look again."""
        if self.queue.waiting is not None and self.queue.waiting is not self._written:
            self._write(self.queue.waiting)
        ready, due = self.queue.ready(now)
        if ready is None:
            return due
        if now < self._look_at:
            return self._look_at
        if (holder := self._lock_holder()) is not None:
            self._look_at = now + LOOK_AT_LOCK_S
            self._end_orphan(holder, now)
            return self._look_at
        self._orphan_since = None
        self._start(ready, now)
        return NEVER

    # -- documents on disk

    def _path(self) -> str:
        return f"{self._layout.incoming}/{self._sequence}.dsse"

    def _write(self, new: Document) -> None:
        """Durably, under a name of its own: the one that prepare reads now is not touched."""
        self._sequence += 1
        replace_durably(self._layout.incoming / f"{self._sequence}.dsse", new.data)
        self._written = new
        for name in os.listdir(self._layout.incoming):
            if f"{self._layout.incoming}/{name}" not in (self._path(), self._reading):
                os.unlink(f"{self._layout.incoming}/{name}")

    # -- prepare

    def _start(self, ready: Document, now: float) -> None:
        if ready is not self._written:
            self._write(ready)  # one that was held while a newer one was tried
        self._db.put("attempt", json.dumps({"digest": ready.digest, "boot": self._boot}))
        self._reading, self._outcome = self._path(), None
        self.queue.started(ready)
        self.progress = "starting"
        try:
            self._child = self._children.spawn(
                self._command(self._reading), self._line, self._ended,
                now=now, deadline=DEADLINE_S, silence=self._silence,
            )  # fmt: skip
        except OSError as error:
            failed = KeeperError(f"prepare could not be started: {error.strerror}", retry=True)
            self._conclude({"refused": failed.as_dict()})

    def _line(self, line: bytes) -> None:
        if self._child is not None:
            self._children.heard(self._child, boottime())
        try:
            said = json.loads(line)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        if "progress" in said:
            detail = str(said.get("detail") or "")
            self.progress = inert(f"{said['progress']}{': ' if detail else ''}{detail}")[:400]
            self._acceptor.document_progress()
        elif len(said) == 1 and next(iter(said)) in ("sealed", "current", "refused"):
            self._outcome = said

    def _ended(self, status: int) -> None:
        child, self._child = self._child, None
        outcome = self._outcome
        if outcome is None:
            words = (
                "it stopped answering and was ended"
                if child and child.ended_by_us
                else f"it ended with status {status}"
            )
            error = KeeperError(f"{words}, without an outcome", element="desired state", retry=True)
            error.phase, error.component = "preparing", "prepare"
            self._crashed(error)
        else:
            self._conclude(outcome)

    def _conclude(self, outcome: dict[str, Any]) -> None:
        self.progress = ""
        now, running = boottime(), self.queue.running
        if isinstance(error := outcome.get("refused"), dict):
            self._settle(running)
            if error.get("retry") is True:
                self.queue.failed(now, self._chance())
            else:
                self.queue.refused(now, self._chance())
            self._acceptor.document_refused(error, _generation(running))
            return
        try:
            index = self._sealed(outcome.get("sealed") or outcome.get("current"))
        except RoadsteadError as problem:
            self._crashed(problem)
            return
        self._settle(running)
        if running is not None:
            self._raise_floor(running, index)
        self.queue.accepted_now(Claim(index["generation"], index["sha256"]))
        self._acceptor.document_accepted(index)

    def _crashed(self, error: RoadsteadError) -> None:
        self.progress = ""
        running = self.queue.running
        in_quarantine = self.queue.crashed(boottime(), self._chance())
        self._db.put("attempt", None)
        self._write_tries()
        self._acceptor.document_refused(error.as_dict(), _generation(running))
        if in_quarantine and running is not None:
            self._acceptor.document_quarantined(running.digest)

    def _sealed(self, said: Any) -> Index:
        """The index that prepare names. Its hash may be the file's or the payload's; both are in what is read."""
        generation = said.get("generation") if isinstance(said, dict) else None
        if type(generation) is not int or not 1 <= generation <= MAX_INTEGER:
            raise StateError("prepare named no generation", element="its outcome")
        index = read_index(self._layout, generation)
        file = hashlib.sha256(self._layout.generation(generation).read_bytes()).hexdigest()
        if said.get("sha256") not in (index["sha256"], file):
            raise StateError("the index on disk is not the one that prepare named", element=f"generation {generation}")
        return index

    def _raise_floor(self, done: Document, index: Index) -> None:
        """The time of signing, now verified: the broker's certificate must not have ended before it."""
        with suppress(ValueError, KeyError, TypeError):
            payload = base64.b64decode(json.loads(done.data)["payload"])
            issued = json.loads(payload)["issued_at"]
            verified = hashlib.sha256(payload).hexdigest() == index["sha256"]
            if verified and type(issued) is int and issued > int(self._db.get("clock_floor") or 0):
                self._db.put("clock_floor", str(issued))

    # -- tries

    def _read_tries(self) -> dict[str, int]:
        """Ends without an outcome. A host that went down during a prepare counts as one; a killed keeper does not."""
        tries: dict[str, int] = json.loads(self._db.get("tries") or "{}")
        attempt = json.loads(self._db.get("attempt") or "null")
        if attempt is not None and attempt["boot"] != self._boot:
            tries[attempt["digest"]] = tries.get(attempt["digest"], 0) + 1
            self._db.put("tries", json.dumps(tries))
        self._db.put("attempt", None)
        return tries

    def _write_tries(self) -> None:
        tries = self.queue.tries
        while len(tries) > TRIES_KEPT:
            tries.pop(next(iter(tries)))
        self._db.put("tries", json.dumps(tries))

    def _settle(self, done: Document | None) -> None:
        """There was an outcome, so it is no poison."""
        self._db.put("attempt", None)
        if done is not None and self.queue.tries.pop(done.digest, None) is not None:
            self._write_tries()

    # -- what another keeper left

    def _lock_holder(self) -> int | None:
        """The process that holds prepare's lock; 0 if it cannot be told; None if nobody does."""
        try:
            handle = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(os.fstat(handle))
        finally:
            os.close(handle)
        return None

    def _end_orphan(self, holder: int, now: float) -> None:
        """End it if it is a prepare of a keeper of this state directory; wait for anybody else's to end by itself."""
        if holder == 0 or not _is_ours(holder, str(self._layout.incoming)):
            return
        number = signal.SIGTERM
        if self._orphan_since is None:
            self._orphan_since = now
        elif now - self._orphan_since > ORPHAN_GRACE_S:
            number = signal.SIGKILL
        with suppress(ProcessLookupError):
            os.kill(holder, number)


def _generation(done: Document | None) -> int | None:
    return done.claim.generation if done is not None and done.claim is not None else None


def _holder(lock: os.stat_result) -> int:
    """From /proc/locks, lines as `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`.

    By the inode alone: overlay file systems tell another device. Whoever acts on the answer checks who it is.
    """
    with open("/proc/locks", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if (
                len(fields) >= 6
                and fields[1] == "FLOCK"
                and fields[5].endswith(f":{lock.st_ino}")
                and fields[4].isdigit()
            ):
                return int(fields[4])
    return 0


def _is_ours(pid: int, incoming: str) -> bool:
    """Whether the process was started on a document of this directory, as only a keeper does."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().split(b"\0")
    except OSError:
        return False
    return any(argument.startswith(os.fsencode(incoming) + b"/") for argument in arguments)
