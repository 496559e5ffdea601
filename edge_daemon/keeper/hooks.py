"""Commands that an app has run in its container around stopping: each has one answer, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.journal import Journal
from edge_daemon.keeper.machine import Machine
from edge_daemon.keeper.ports import Seen
from edge_daemon.slots import shown
from fleet_protocol.wire.errors import inert

MOST_LINE = 4096
MOST_WORDS = 120
STARTER_S = 10.0
"""For the child process around a hook, which ends the hook itself when its time is up."""


class Answer(NamedTuple):
    """How a hook ended: `why` is "" after exit code 0, and else says in words what was wrong."""

    status: int | None  # None: it did not end in time, or could not be run
    said: str = ""
    why: str = ""


class Hooks:
    """Runs them by the starter, as the probes' commands are run."""

    def __init__(self, machine: Machine, children: Children, journal: Journal) -> None:
        self._machine = machine
        self._children = children
        self._journal = journal

    def run(self, seen: Seen, name: str, seconds: float, now: float, then: Callable[[Answer], None]) -> None:
        """`then` is called once, at once if it cannot even be tried."""
        last = [b""]

        def heard(line: bytes) -> None:
            last[0] = line[:MOST_LINE]

        command = self._machine.hook(seen.app, seen.service, seen.revision, name)
        try:
            self._children.spawn(
                command,
                heard,
                lambda _status: then(answer_of(last[0], seconds)),
                now=now,
                deadline=seconds + STARTER_S,
            )
        except OSError as error:
            then(Answer(None, why=f"could not be run: {error.strerror}"))

    def failed(self, seen: Seen, name: str, answer: Answer, then: str) -> None:
        """Say that a hook did not do what it is there for."""
        self._journal.say(
            "hook.failed",
            f"{seen.app}/{shown(seen.service)}: its hook {name} {answer.why}; {then}",
            severity="warn", app=seen.app, service=seen.service,
        )  # fmt: skip


def answer_of(line: bytes, seconds: float) -> Answer:
    """What the starter's last line says. Pure."""
    try:
        found = json.loads(line)
        if "failed" in found:
            return Answer(None, why=f"could not be run: {inert(str(found['failed'].get('reason')))[:200]}")
        status, said = found["hook"]["status"], inert(str(found["hook"]["said"]))[:MOST_WORDS]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer(None, why="could not be run: the child process around it gave no answer")
    if status is None:
        return Answer(None, said, f"did not end within {seconds:.0f} s")
    if type(status) is not int:
        return Answer(None, why="could not be run: the child process around it gave no answer")
    return Answer(status, said, f"ended with exit code {status}{f': {said}' if said else ''}" if status else "")
