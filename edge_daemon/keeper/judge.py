"""The trial of a new revision of an app on this host: pure. Nothing here reads a clock, a socket or a file.

Rules:
* It is good when it ran whole for its window, with every probe of it healthy at the end; nothing else makes it good.
* It is bad at once when a service was killed for memory, gave up, cannot be started, or when all of them together
  restarted more often than the release allows, or an unhealthy probe is about to be one restart too many.
* It is bad at the end of the window when a probe is unhealthy, and when it does not run whole by the end of the window
  and an allowance for starting.
* It is bad a while after its window when a service is still not ready: one waits as long as for one that does not run.
* It is bad at the end of the window when the memory of a service grows faster than the release allows.
* What was not measured is inconclusive, and never good: one waits for a probe that has said nothing, and for enough
  samples of the memory, but not for ever. Then it is over, and what it is stays open.
* Where there is nothing to go back to, a failure is noted and the trial goes on: then only what runs now counts.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from edge_daemon.keeper.slope import Slope

LEAST_ALLOWANCE_S = 60.0
MOST_TRIES = 2
"""Boots in which a candidate is started: the one in which it came, and one more."""
PATIENCE_BASE_S, PATIENCE_CAP_S = 60.0, 3600.0
FOREVER = float("inf")

ProbeWord = Literal["none", "silent", "healthy", "unready", "unhealthy"]


class Facts(NamedTuple):
    """One service of the revision on trial."""

    name: str
    up_since: float | None = None  # None: it does not run
    completed: bool = False  # it ended with success, and was meant to
    gave_up: int | None = None  # the exit code after which it is not started again
    stuck: str = ""  # why it cannot be started, where trying again cannot mend it
    restarts: int = 0
    oom_kills: int = 0  # in this revision
    oom_kills_now: int = 0  # of the container that runs
    probe: ProbeWord = "none"
    ill: str = ""  # what an unhealthy probe says
    exits: int = 0
    failed_probes: int = 0
    speaks_within_s: float = 0.0  # a probe that can be asked has said something by then
    slope: Slope | None = None  # of its memory; None: not known


class Trial(NamedTuple):
    """One app."""

    begun: float | None  # first start in this boot; None: not started in this boot yet
    window_s: float
    max_restarts: int
    services: tuple[Facts, ...]
    alone: bool = True  # nothing of another revision is there
    watched_since: float = 0.0  # nobody could start anything before
    pardoned: bool = False  # it failed, and there is nothing to go back to
    most_slope: int | None = None  # percent of a service's memory limit per hour; None: any


class Hold(NamedTuple):
    """Not decided; time alone may change that at `until` (infinity: something must happen)."""

    until: float
    why: str


class Good(NamedTuple):
    """It proved itself."""


class Bad(NamedTuple):
    """It failed."""

    reason: str
    code: str


class Inconclusive(NamedTuple):
    """Nothing speaks against it, but not everything could be measured, and it was waited for long enough."""

    reason: str
    code: str


Verdict = Hold | Good | Bad | Inconclusive


def judge(trial: Trial, now: float) -> Verdict:
    """What is to be said of it now."""
    if trial.begun is None:
        return Hold(FOREVER, "it has not been started yet")
    if not trial.pardoned and (failed := _failed(trial)):
        return failed
    allowed = trial.window_s + max(LEAST_ALLOWANCE_S, trial.window_s)
    if absent := _absent(trial):
        deadline = max(trial.begun, trial.watched_since) + allowed
        if trial.pardoned:
            return Hold(FOREVER, f"{absent} does not run")
        if now >= deadline:
            return Bad(f"{absent} did not run {seconds(allowed)} after the start", "absent")
        return Hold(deadline, f"{absent} does not run yet")
    if killed := next((s.name for s in trial.services if s.oom_kills_now), ""):
        return Hold(FOREVER, f"a process of {killed} was killed for memory")
    whole_since = max([trial.begun, *(s.up_since for s in trial.services if s.up_since is not None)])
    if now < whole_since + trial.window_s:
        return _soak(whole_since, trial.window_s, now)
    late = max(whole_since, trial.watched_since - trial.window_s) + allowed
    return _probed(trial, late, now) or _measured(trial, late, now)


def patience(tries: int) -> float:
    """Seconds after a boot before a candidate is started that was on trial in so many boots before, where there is
    nothing to go back to: a revision that takes the host down must leave time to reach the host."""
    beyond = tries - MOST_TRIES
    return 0.0 if beyond < 0 else min(PATIENCE_CAP_S, PATIENCE_BASE_S * 2.0 ** min(beyond, 32))


def _failed(trial: Trial) -> Bad | None:
    """Why it is bad already, or None."""
    for one in trial.services:
        if one.oom_kills:
            return Bad(f"{one.name} was killed for memory{times(one.oom_kills)}", "oom")
    for one in trial.services:
        if one.stuck:
            return Bad(f"{one.name} cannot be started: {one.stuck}", "cannot-start")
        if one.gave_up is not None:
            return Bad(f"{one.name} ended with exit code {one.gave_up} and is not started again", "gave-up")
    restarts = sum(one.restarts for one in trial.services)
    if restarts > trial.max_restarts:
        names = ", ".join(one.name for one in trial.services if one.restarts)
        allowed = f", {trial.max_restarts} allowed" if trial.max_restarts else ""
        return Bad(f"{names} ended by itself{times(restarts)}{allowed}", "restarts")
    ill = _first(trial, "unhealthy")
    if ill is not None and restarts >= trial.max_restarts:
        return Bad(f"{ill.name} was not healthy{_said(ill)}", "unhealthy")
    return None


def _absent(trial: Trial) -> str:
    """What keeps the app from running whole, or ""."""
    if not trial.alone:
        return "it"
    return next((s.name for s in trial.services if s.up_since is None and not s.completed), "")


def _soak(since: float, window_s: float, now: float) -> Hold:
    step = max(1, int(window_s) // 6)  # said in coarse steps: every new word is a report to the server
    done = int(max(0.0, now - since)) // step * step
    return Hold(since + window_s, f"soak {done} s of {window_s:.0f} s")


def _probed(trial: Trial, late: float, now: float) -> Verdict | None:
    """The window is over and it ran whole: what the probes say; None when they are content."""
    if (ill := _first(trial, "unhealthy")) is not None:
        words = f"{ill.name} was not healthy at the end of its window{_said(ill)}"
        return Hold(FOREVER, words) if trial.pardoned else Bad(words, "unhealthy")
    if (unready := _first(trial, "unready")) is not None:
        if now < late or trial.pardoned:
            return Hold(FOREVER if trial.pardoned else late, f"{unready.name} is not ready{_said(unready)}")
        return Bad(f"{unready.name} was not ready long after its window{_said(unready)}", "not-ready")
    if (silent := _first(trial, "silent")) is not None:
        until = late + max(one.speaks_within_s for one in trial.services if one.probe == "silent")
        if now < until:
            return Hold(until, f"the probe of {silent.name} has said nothing yet")
        return Inconclusive(f"the probe of {silent.name} could not be asked", "silent")
    return None


def _measured(trial: Trial, late: float, now: float) -> Verdict:
    """What the memory says, where the release wants to know."""
    if trial.most_slope is None:
        return Good()
    known = [(one, one.slope) for one in trial.services if not one.completed]
    steep = [(one, s) for one, s in known if s is not None and s.percent_per_h > trial.most_slope]
    for one, slope in steep:
        if slope.certain:
            words = (
                f"{one.name} takes more and more memory: {slope.percent_per_h:.0f}% of its limit per hour, "
                f"{trial.most_slope}% allowed"
            )
            return Hold(FOREVER, words) if trial.pardoned else Bad(words, "leak")
    unknown = next((one.name for one, slope in known if slope is None), "")
    if not unknown and not steep:
        return Good()
    name = unknown or steep[0][0].name
    if now < late:
        return Hold(late, f"the memory of {name} is measured")
    if unknown:
        return Inconclusive(f"the memory of {name} could not be measured", "unmeasured")
    return Inconclusive(f"the window is too short to tell how fast the memory of {name} grows", "unmeasured")


def _first(trial: Trial, word: ProbeWord) -> Facts | None:
    return next((one for one in trial.services if one.probe == word), None)


def _said(ill: Facts) -> str:
    return f": {ill.ill}" if ill.ill else ""


def times(count: int) -> str:
    """How often, behind a verb; nothing for once."""
    return "" if count <= 1 else " twice" if count == 2 else f" {count} times"


def seconds(length: float) -> str:
    """A length of time for people."""
    if length < 120:
        return f"{length:.0f} s"
    return f"{length / 60:.0f} min" if length < 7200 else f"{length / 3600:.0f} h"
