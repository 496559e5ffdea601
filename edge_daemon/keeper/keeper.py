"""The keeper: its parts, put together, and what they tell each other. One thread, one place that waits."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from edge_daemon.keeper import notify
from edge_daemon.keeper.answers import Answers
from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import BUILD_TIME, NEVER, boot_id, boottime, chance, wall
from edge_daemon.keeper.db import open_or_replace
from edge_daemon.keeper.desired import Desired
from edge_daemon.keeper.desired_queue import Claim
from edge_daemon.keeper.errors import StateError, WrongNetworkError
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.local_socket import LocalSocket, Members
from edge_daemon.keeper.loop import Supervisor
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.outbox import Outbox
from edge_daemon.keeper.reactor import Reactor, Signals
from edge_daemon.keeper.records import Records
from edge_daemon.keeper.reporter import Reporter, accepted
from edge_daemon.keeper.sealed_state import newest_generation, parse_index, read_index
from edge_daemon.keeper.session import Session
from edge_daemon.keeper.spool import Spool
from edge_daemon.keeper.upkeep import Checked, Upkeep, known_now, read_withdrawn, words, write_withdrawn
from edge_daemon.layout import Layout
from edge_daemon.sealed import Identity, Index
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import ID_PATTERN, matches
from fleet_protocol.wire.errors import RoadsteadError, inert
from fleet_protocol.wire.topics import Channel

SAY_AGAIN_S = 60.0  # the same refusal of a message that never reached prepare, the same trouble of this process
TROUBLE_S = 1.0


class Keeper:
    """`run` returns when SIGTERM or SIGINT came; containers run on."""

    def __init__(
        self,
        layout: Layout,
        machine: Machine,
        version: str,
        expect_netns: Path | None = None,
        members: Members = Members(),  # noqa: B008
    ) -> None:
        self._layout = layout
        self._machine = machine
        self._version = version
        self._expect_netns = expect_netns
        self._boot = boot_id()
        check_network(expect_netns)
        self._identity = read_identity(layout)
        self._db, alarm = open_or_replace(layout.keeper_db, wall())
        self._outbox = Outbox(self._db)
        self._records = Records(self._db)
        self._journal = Journal(self._db, self._outbox, self._records, self._boot, wall)
        self._reactor = Reactor()
        self._signals = Signals(self._reactor, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD))
        self._children = Children(self._reactor)
        self._facts = machine.facts()
        self._supervisor = Supervisor(
            layout, machine, self._journal, self._reactor, self._children,
            boot=self._boot, chance=chance, changed=self._reporter_changed,
        )  # fmt: skip
        self.refusal: dict[str, Any] | None = json.loads(self._db.get("refusal") or "null")
        self._reporter = Reporter(self, machine, self._supervisor, self._records)
        self._withdrawn = read_withdrawn(self._db.get("withdrawn"))
        self._upkeep = Upkeep(machine, self._children, now=boottime(), chance=chance, checked=self._withdrawals)
        self._greet(alarm)
        self.index: Index | None = self._adopt_index()
        claim = Claim(self.index["generation"], self.index["sha256"]) if self.index else None
        self._desired = Desired(
            layout, self._db, self._children, self, self._prepare_command,
            accepted=claim, boot=self._boot, chance=chance,
        )  # fmt: skip
        self._session = Session(
            layout, self._identity, self._reactor, self,
            chance=chance, floor=self._clock_floor, before_dialling=lambda: check_network(expect_netns),
            offline=self._presence(online=False),
        )  # fmt: skip
        self._spool = Spool(self._identity["device_id"], self._outbox, self._send_events)
        answers = Answers(layout, self._reporter, self._supervisor, self._outbox, self._connection)
        self._local = LocalSocket(layout, self._reactor, answers.answer, boottime, members)
        self._why_not_connected = "not tried yet"
        self._denied: set[str] = set()
        self._said: dict[str, float] = {}
        self._troubled: dict[str, float] = {}  # what was written to the log, and when
        self._watchdog = notify.watchdog_seconds()
        self._watchdog_at = 0.0

    # -- the loop

    def run(self) -> None:
        """Until asked to end."""
        self._children.spawn(
            self._machine.version_command(), self._runtime_version, lambda _status: None, now=boottime(), deadline=10.0
        )
        notify.notify("READY=1")
        try:
            while not self._signals.caught & {signal.SIGTERM, signal.SIGINT}:
                self._signals.caught.clear()
                try:
                    due = self._step(boottime())
                except (sqlite3.Error, OSError, RoadsteadError) as error:
                    due = boottime() + TROUBLE_S
                    self._trouble(error)
                self._reactor.turn(due - boottime())
        finally:
            notify.notify("STOPPING=1")
            self.close()

    def _step(self, now: float) -> float:
        self._children.reap()
        due = NEVER
        for step in (
            self._children.step,
            self._supervisor.step,  # before anything that has to do with the network
            self._desired.step,
            self._upkeep.step,
            self._session.step,
            self._local.step,
            self._step_outbound,
        ):
            try:
                due = min(due, step(now))
            except (sqlite3.Error, OSError, RoadsteadError) as error:  # one that cannot go on holds up no other
                due = min(due, now + TROUBLE_S)
                self._trouble(error)
        if self._watchdog is not None:
            if now >= self._watchdog_at:
                notify.notify("WATCHDOG=1")
                self._watchdog_at = now + self._watchdog
            due = min(due, self._watchdog_at)
        return due

    def _step_outbound(self, now: float) -> float:
        if not self._session.up:
            return NEVER
        return min(self._spool.step(now), self._reporter.step(now, self._publish_report))

    def _trouble(self, error: Exception) -> None:
        """A full disk, or a host that refuses: said, and tried again. Nothing is believed from memory after it."""
        words = error.sentence() if isinstance(error, RoadsteadError) else f"{type(error).__name__}: {error}"
        now = boottime()
        if now - self._troubled.get(words, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._troubled = {text: at for text, at in self._troubled.items() if now - at < SAY_AGAIN_S} | {words: now}
            sys.stderr.write(f"keeper: {inert(words)}\n")
        if isinstance(error, WrongNetworkError):
            raise error
        if isinstance(error, sqlite3.Error):
            self._outbox.reload()
            self._records.reload()
        self._supervisor.look()

    def close(self) -> None:
        """Let go of everything; what runs, runs on."""
        self._session.close()
        self._local.close()
        self._supervisor.close()
        self._signals.close()
        self._reactor.close()
        self._db.close()

    # -- what runs

    def _greet(self, alarm: str) -> None:
        if alarm:
            self._journal.say(
                "state.lost", f"{alarm}; what runs is taken from the sealed generations", severity="error"
            )
        if (before := self._db.get("boot")) != self._boot:
            if before is not None:
                self._journal.say("host.rebooted", "the host was started again")
            self._db.put("boot", self._boot)
        self._journal.say("daemon.started", f"edge-daemon {self._version} started")

    def _adopt_index(self) -> Index | None:
        """What was accepted last, or a newer generation that prepare sealed just before we were killed."""
        stored = self._db.get("index")
        known = parse_index(stored.encode(), "the accepted index") if stored is not None else None
        newest = newest_generation(self._layout)
        index = known
        if newest is not None and (known is None or newest > known["generation"]):
            try:
                index = read_index(self._layout, newest)
            except StateError as error:
                self._journal.say("state.unreadable", error.sentence(), severity="error")
        if index is not None:
            self._run_index(index, new=index is not known)
        return index

    def _reporter_changed(self) -> None:
        self._reporter.changed()

    def _run_index(self, index: Index, *, new: bool) -> None:
        if new:
            with self._db.transaction():
                self._db.put("index", json.dumps(index))
                self._journal.say(
                    "generation.accepted", f"generation {index['generation']} was accepted: {_apps(index)}"
                )
        self._supervisor.want(index, self._withdrawn)

    def _withdrawals(self, checked: Checked) -> None:
        """From Upkeep: what the signers of releases took back. Nothing else stops what runs."""
        found = known_now(self._withdrawn, checked)
        if found == self._withdrawn:
            return
        with self._db.transaction():
            self._db.put("withdrawn", write_withdrawn(found))
            for app, known in found.items():
                for release, reason in known.items():
                    if self._withdrawn.get(app, {}).get(release) != reason:
                        text = f"{app} {words(release, reason)}; it does not run on this host any more"
                        self._journal.say("app.withdrawn", text, severity="error", app=app)
        self._withdrawn = found
        if self.index is not None:
            self._supervisor.want(self.index, found)
        self._reporter.changed()

    def document_accepted(self, index: Index) -> None:
        """From Desired."""
        new = self.index is None or index["generation"] > self.index["generation"]
        if new:
            self.index = index
        self.refusal = None
        self._db.put("refusal", None)
        self._run_index(index if new or self.index is None else self.index, new=new)
        self._say_presence()
        self._reporter.changed()

    def document_refused(self, error: dict[str, Any], generation: int | None) -> None:
        """From Desired."""
        sentence = inert(str(error.get("sentence") or error.get("reason")))[:600]
        refusal = {
            "code": inert(str(error.get("code") or "E0000"))[:400],
            "sentence": sentence,
            "retry": error.get("retry") is True,
            "at": wall(),
        }
        if generation is not None:
            refusal["generation"] = generation
        self.refusal = refusal
        self._db.put("refusal", json.dumps(refusal))
        now = boottime()
        if now - self._said.get(sentence, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said = {text: at for text, at in self._said.items() if now - at < SAY_AGAIN_S} | {sentence: now}
            self._journal.say("desired.refused", sentence, severity="warn" if refusal["retry"] else "error")
        self._reporter.changed()

    def document_progress(self) -> None:
        """From Desired."""
        self._reporter.changed()

    def document_quarantined(self, digest: str) -> None:
        """From Desired."""
        self._journal.say(
            "desired.quarantined",
            f"document {digest[:12]} ended prepare three times without an outcome; it is tried once an hour",
            severity="error",
        )

    def _prepare_command(self, document: str) -> list[str]:
        return self._machine.prepare(document, self._supervisor.kept_revisions(), self._supervisor.running_revisions())

    def _runtime_version(self, line: bytes) -> None:
        self._facts.setdefault("runtime_version", inert(line.decode(errors="replace"))[:100])
        self._reporter.changed()

    # -- the broker

    def session_up(self) -> None:
        """From Session."""
        self._why_not_connected = ""
        self._denied.clear()
        self._spool.connected()
        self._say_presence()
        self._desired.queue.hurry(boottime())
        self._reporter.anew()

    def session_down(self, why: str) -> None:
        """From Session."""
        if why != self._why_not_connected:
            sys.stderr.write(f"keeper: not connected: {inert(why)}\n")
        self._why_not_connected = why

    def session_denied(self, what: str) -> None:
        """From Session: once for each connection and thing, or the alarms would feed themselves."""
        if what not in self._denied:
            self._denied.add(what)
            self._journal.say("broker.denied", f"the broker denied {what}", severity="error")

    def session_message(self, channel: Channel, payload: bytes, properties: list[tuple[str, str]]) -> None:
        """From Session."""
        if channel == Channel.DESIRED:
            self._desired.message(payload, properties)
        elif channel == Channel.ACKS:
            self._spool.acknowledged(payload)
        elif channel == Channel.REQUESTS:
            self._upkeep.asked(payload, boottime())

    def _send_events(self, payload: bytes) -> bool:
        return self._session.publish(Channel.EVENTS, payload)

    def _presence(self, *, online: bool) -> bytes:
        return strict_json.dumps({"online": online, "boot_id": self._boot} | accepted(self.index))

    def _say_presence(self) -> None:
        if self._session.up:
            self._session.publish(Channel.PRESENCE, self._presence(online=True), retain=True)

    def _clock_floor(self) -> int:
        return max(BUILD_TIME, int(self._db.get("clock_floor") or 0))

    # -- what reports say

    def headline(self) -> dict[str, Any]:
        """For Reporter."""
        return {
            "device_id": self._identity["device_id"],
            "boot_id": self._boot,
            "daemon_version": self._version,
            "preparing": self._desired.progress,
            "host": self._facts | {"pending_events": self._outbox.pending},
        }

    def _connection(self) -> dict[str, Any]:
        return {"connected": self._session.up, "why_not_connected": self._why_not_connected}

    def _publish_report(self, data: bytes) -> bool:
        return self._session.publish(Channel.REPORTED, data, then=self._report_taken)

    def _report_taken(self, taken: bool) -> None:
        if taken:
            self._upkeep.reported(boottime())
        else:
            self._reporter.anew()


def check_network(expected: Path | None) -> None:
    """Raises WrongNetworkError if this process is not in the network namespace that `expected` names."""
    if expected is None:
        return
    try:
        wanted = os.stat(expected)
    except OSError as error:
        raise WrongNetworkError(f"{error.strerror}", element=str(expected)) from error
    ours = os.stat("/proc/self/ns/net")
    if (ours.st_dev, ours.st_ino) != (wanted.st_dev, wanted.st_ino):
        raise WrongNetworkError(
            "this process is in another network namespace", element=str(expected), hint="start it with nsenter --net="
        )


def read_identity(layout: Layout) -> Identity:
    """identity.json of enrolment. Raises StateError."""
    path = layout.identity_json
    try:
        value = json.loads(path.read_bytes())
        if not matches(ID_PATTERN, value["device_id"]):
            raise ValueError("not a device identifier")
        return Identity(
            device_id=value["device_id"],
            server_url=str(value["server_url"]),
            broker_host=str(value["broker_host"]),
            broker_port=int(value["broker_port"]),
        )
    except FileNotFoundError as error:
        raise StateError("this host is not enrolled", element=str(path), hint="edge-daemon enroll TOKEN") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"cannot be read: {error}", element=str(path)) from error


def _apps(index: Index) -> str:
    return ", ".join(f"{app} {entry['release']}" for app, entry in sorted(index["apps"].items())) or "no apps"
