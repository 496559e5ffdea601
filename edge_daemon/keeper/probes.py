"""What a service's probe says of it: pure. Nothing here reads a clock, a socket or a file.

Rules:
* A container is `starting` until its probe was good for `healthy_for`, then `healthy`; `failures` bad answers in a row
  make it `unhealthy`, whatever it was before.
* While it starts (its start period, at least one interval, and until it was good once) bad answers are not counted, and
  it is asked more often, so that one that is ready soon is known to be ready soon.
* What could not be asked is unknown: neither good nor bad, it counts for nothing and ends a good streak.
* The next question comes an interval after the last answer: what was late is not made up for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from edge_daemon.keeper.clock import NEVER

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
LASTED, EARLY, ENOUGH = "good for long enough", "bad while it starts", "bad often enough"

Key = TypeVar("Key", bound=tuple[str, ...])

MOST_AT_ONCE = 4
FIRST_AFTER_S = 0.5
OFTEN_S = 1.0

NEXT: dict[str, dict[str, str]] = {
    STARTING: {
        LASTED: HEALTHY, GOOD: STARTING, EARLY: STARTING, BAD: STARTING, ENOUGH: UNHEALTHY, UNKNOWN: STARTING,
    },
    HEALTHY: {
        LASTED: HEALTHY, GOOD: HEALTHY, EARLY: HEALTHY, BAD: HEALTHY, ENOUGH: UNHEALTHY, UNKNOWN: HEALTHY,
    },
    UNHEALTHY: {
        LASTED: HEALTHY, GOOD: UNHEALTHY, EARLY: UNHEALTHY, BAD: UNHEALTHY, ENOUGH: UNHEALTHY, UNKNOWN: UNHEALTHY,
    },
}  # fmt: skip


class Rule(NamedTuple):
    """How one service is asked and judged; `kind` is http, tcp or exec."""

    kind: str
    port: int = 0
    path: str = "/"
    every_s: float = 10.0
    timeout_s: float = 3.0
    start_period_s: float = 0.0
    failures: int = 3
    healthy_for_s: float = 0.0

    def question(self) -> str:
        """What is asked, for a sentence."""
        if self.kind == "http":
            return f"http :{self.port}{self.path}"
        return f"tcp :{self.port}" if self.kind == "tcp" else "its command"


class Health(NamedTuple):
    """One run of a container, as far as its probe knows it."""

    state: str
    due: float  # when it is asked next
    answered: bool = False  # it was good once in this run
    good_since: float | None = None  # first of the good answers in a row
    failures: int = 0  # counted bad answers in a row
    words: str = ""  # of the last answer that was not good


class Result(NamedTuple):
    """One answer: good, bad or unknown, and in which words."""

    outcome: str
    words: str = ""


def rule_of(values: Mapping[str, Any]) -> Rule:
    """From `edge_daemon.sealed.ProbeValues`; bounded, for prepare may be of another version than the keeper."""
    kind = "http" if "http_port" in values else "tcp" if "tcp_port" in values else "exec"
    return Rule(
        kind=kind,
        port=_whole(values.get("http_port", values.get("tcp_port")), 0, 65535, 0),
        path=str(values.get("http_path", "/")),
        every_s=_whole(values.get("every_s"), 1, 3600, 10),
        timeout_s=_whole(values.get("timeout_s"), 1, 60, 3),
        start_period_s=_whole(values.get("start_period_s"), 0, 3600, 0),
        failures=_whole(values.get("failures"), 1, 100, 3),
        healthy_for_s=_whole(values.get("healthy_for_s"), 0, 86400, 0),
    )


def speaks_within(rule: Rule) -> float:
    """Seconds after the start by which it must be healthy or unhealthy, if it can be asked at all."""
    return rule.start_period_s + rule.healthy_for_s + (rule.failures + 1) * (rule.every_s + rule.timeout_s)


def _whole(value: object, least: int, most: int, usual: int) -> int:
    return min(most, max(least, value)) if type(value) is int else usual


def begin(rule: Rule, started: float, now: float) -> Health:
    """A container that was started at `started`, now or by an earlier keeper."""
    return Health(STARTING, due=max(now, started + min(FIRST_AFTER_S, rule.every_s)))


def after(rule: Rule, health: Health, result: Result, *, started: float, now: float) -> Health:
    """What is known after one more answer."""
    starting = not health.answered and now < started + max(rule.start_period_s, rule.every_s)
    if result.outcome == GOOD:
        since = now if health.good_since is None else health.good_since
        event = LASTED if now - since >= rule.healthy_for_s else GOOD
        found = health._replace(answered=True, good_since=since, failures=0, words="")
    elif result.outcome == BAD:
        count = health.failures if starting else min(health.failures + 1, rule.failures)
        event = EARLY if starting else ENOUGH if count >= rule.failures else BAD
        found = health._replace(good_since=None, failures=count, words=result.words)
    else:
        event = UNKNOWN
        found = health._replace(good_since=None, words=result.words)
    state = NEXT[health.state][event]
    return found._replace(state=state, due=now + _pause(rule, found, started=started, now=now))


def _pause(rule: Rule, health: Health, *, started: float, now: float) -> float:
    """Until the next question: short at first while it starts, then longer up to the interval."""
    if health.answered or now >= started + max(rule.start_period_s, rule.every_s):
        return rule.every_s
    return min(rule.every_s, max(OFTEN_S, (now - started) / 10))


def why(rule: Rule, health: Health) -> str:
    """Why it is not plainly healthy, or ""."""
    if not health.words:
        return "" if health.state == HEALTHY else "its probe has not been good for long enough yet"
    times = f" ({health.failures} of {rule.failures} failures)" if health.failures else ""
    return f"{rule.question()} {health.words}{times}"


def turn_of(waiting: Iterable[tuple[float, Key]], running: int, now: float) -> list[Key]:
    """Who is asked now, of (due, who): those that wait longest, and never more at once than allowed."""
    due = sorted(one for one in waiting if one[0] <= now)
    return [who for _, who in due[: max(0, MOST_AT_ONCE - running)]]


def next_due(waiting: Iterable[float], running: int) -> float:
    """When to look again: not before one that is under way ends, if all places are taken."""
    return NEVER if running >= MOST_AT_ONCE else min(waiting, default=NEVER)


def status_of(data: bytes) -> Result | None:
    """What the first line of an HTTP answer says; None when it is not whole yet."""
    line, ended, _ = data.partition(b"\n")
    if not ended and len(line) < 64:
        return None
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        return Result(BAD, "did not answer in HTTP")
    status = int(words[1])
    return Result(GOOD) if 200 <= status <= 399 else Result(BAD, f"answered {status}")
