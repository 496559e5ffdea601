"""What is done by the clock, not by a message: the certificate's renewal, a look for withdrawals, and giving back the
memory that only the start needed.

All are child processes, for they need libraries that do not belong in the keeper. The server may ask for the look
(`{"request": "check"}`, unsigned: it can only make a device fetch metadata, and at most once a minute).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import backoff
from fleet_protocol.wire.errors import inert

DAY_S, HOUR_S = 86400.0, 3600.0
FIRST_S = HOUR_S
STARTED_S = 300.0  # without anybody to report to
CHILD_S = 600.0
ASKED_AT_MOST_EVERY_S = 60.0
AGAIN_BASE_S, AGAIN_CAP_S = 60.0, 6 * 3600.0

Withdrawn = dict[str, dict[str, str]]
"""App -> release -> the reason that its signers gave."""


class Checked(NamedTuple):
    """What a look for withdrawals found."""

    stops: Withdrawn
    unread: frozenset[str] = frozenset()  # apps of which nothing could be learnt


class Commands(Protocol):
    """The host's part of it: `machine.HostMachine`."""

    def renew(self) -> list[str]:
        """The command that renews the certificate if it has grown old."""

    def check(self) -> list[str]:
        """The command that fetches metadata and says `{"checked": {"stops": [...], "unread": [...]}}`."""

    def settle(self) -> list[str]:
        """The command that gives back the keeper's idle pages."""


class Duty:
    """One command, when it is next due, and how often it failed in a row."""

    def __init__(self, command: Callable[[], list[str]], first: float, every: float = DAY_S) -> None:
        self.command = command
        self.due = first
        self.every = every
        self.failures = 0
        self.running = False


class Upkeep:
    """`step` starts what is due; `checked` hears of the withdrawals that hold."""

    def __init__(
        self,
        commands: Commands,
        children: Children,
        *,
        now: float,
        chance: Callable[[], float],
        checked: Callable[[Checked], None],
    ) -> None:
        self._children = children
        self._chance = chance
        self._checked = checked
        self._asked_at = -ASKED_AT_MOST_EVERY_S
        self._check = Duty(commands.check, now + FIRST_S + chance() * (DAY_S - FIRST_S))
        self._settle = Duty(commands.settle, now + STARTED_S, every=HOUR_S)
        self._has_reported = False
        self._duties = (self._check, Duty(commands.renew, now + chance() * FIRST_S), self._settle)

    def step(self, now: float) -> float:
        """Start what is due. When to look again."""
        for duty in self._duties:
            if not duty.running and now >= duty.due:
                self._start(duty, now)
        return min(duty.due for duty in self._duties)

    def asked(self, payload: bytes, now: float) -> None:
        """A message on `requests`. Anything but the one that is known is ignored."""
        if payload.replace(b" ", b"") == b'{"request":"check"}' and now - self._asked_at >= ASKED_AT_MOST_EVERY_S:
            self._asked_at = now
            self._check.due = now

    def reported(self, now: float) -> None:
        """The first report is out, so the start is over."""
        if not self._has_reported:
            self._has_reported, self._settle.due = True, now

    def _start(self, duty: Duty, now: float) -> None:
        last: list[bytes] = []
        # Due again in its time, whatever comes of it; sooner when it fails.
        duty.due, duty.running = now + duty.every, True

        def heard(line: bytes) -> None:
            last[:] = [line]

        def ended(status: int) -> None:
            duty.running = False
            if status == 0:
                duty.failures = 0
                if (found := stops_in(last)) is not None:
                    self._checked(found)
                return
            duty.failures += 1
            wait = backoff(duty.failures, base=AGAIN_BASE_S, cap=AGAIN_CAP_S, chance=self._chance())
            duty.due = min(duty.due, now + wait)

        try:
            self._children.spawn(duty.command(), heard, ended, now=now, deadline=CHILD_S)
        except OSError as error:
            sys.stderr.write(f"keeper: {error.strerror}\n")
            ended(1)


def stops_in(lines: list[bytes]) -> Checked | None:
    """The withdrawals of a check's last line; None if it is of another kind."""
    try:
        told = json.loads(lines[-1])["checked"]
        stops: Withdrawn = {}
        for stop in told["stops"]:
            stops.setdefault(str(stop["app"]), {})[str(stop["release"])] = inert(str(stop.get("reason", "")))[:200]
        return Checked(stops, frozenset(str(app) for app in told["unread"]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def known_now(before: Withdrawn, checked: Checked) -> Withdrawn:
    """What holds after a look: what it found, and what was known of apps of which it could learn nothing."""
    return {app: known for app, known in before.items() if app in checked.unread} | checked.stops


def words(release: str, reason: str) -> str:
    """A withdrawal, for people."""
    return f"{release} was withdrawn by its signers: {reason or 'no reason given'}"


def read_withdrawn(text: str | None) -> Withdrawn:
    """As it was written by `write_withdrawn`."""
    return {str(app): dict(known) for app, known in json.loads(text or "{}").items()}


def write_withdrawn(withdrawn: Withdrawn) -> str:
    """For keeper.db."""
    return json.dumps(withdrawn)
