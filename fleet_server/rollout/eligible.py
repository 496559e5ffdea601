"""Why a device is not given the release (or not told to go back) yet, from its own side. Room for it is `giving`'s.

Each reason has a code; words are made of it in `why`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fleet_server.rollout.facts import DeviceFacts
from fleet_server.rollout.machine import HAVE_IT, TAKES_BACK
from fleet_server.rollout.observe import is_away, unmet, vetoed_until
from fleet_server.rollout.state import DeviceRecord, Phase, State

if TYPE_CHECKING:
    from fleet_server.rollout.engine import Engine


class Wait(NamedTuple):
    """`code` "" : it waits for nothing of its own and may be told `stage`: fetch, install, back.

    `until`: when this may change by itself.
    """

    code: str
    until: int | None = None
    stage: str = ""


FINAL = Wait("final")


def waits(engine: Engine, record: DeviceRecord, facts: DeviceFacts, now: int) -> Wait:
    """The first reason that holds the device up."""
    if engine.rollout.state in TAKES_BACK:
        return _back(engine, record, facts)
    if record.phase not in (Phase.QUEUED, Phase.FETCHING):
        return FINAL
    if not engine.gives():
        return Wait("stopped")
    if facts.owner:
        return Wait("owner")
    if not engine.admits(record):
        return Wait("wave")
    if record.held:
        return Wait("held")
    if record.not_before > now:
        return Wait("retry", record.not_before)
    if not facts.online:
        return Wait("away" if is_away(facts, engine.spec, now) else "quiet")
    if facts.runs is None:
        return Wait("unreported")
    if record.forced:
        return Wait("", None, "install")
    if (until := vetoed_until(facts, engine.spec, now)) is not None:
        return Wait("veto", until)
    if unmet(facts, engine.spec):
        return Wait("precondition")
    return _windows(engine, record, facts, now)


def _windows(engine: Engine, record: DeviceRecord, facts: DeviceFacts, now: int) -> Wait:
    if engine.install is None or (engine.spec.canary_anytime and record.wave == 0):
        return Wait("", None, "install")
    install = engine.install.at(facts.zone, now)
    if install.is_open:
        return Wait("", install.until, "install")
    if record.phase is Phase.FETCHING:
        return Wait("window", install.until)
    if engine.download is None:
        return Wait("", install.until, "fetch")
    download = engine.download.at(facts.zone, now)
    if download.is_open:
        return Wait("", min(install.until, download.until), "fetch")
    return Wait("window", min(install.until, download.until))


def _back(engine: Engine, record: DeviceRecord, facts: DeviceFacts) -> Wait:
    rollout = engine.rollout
    if record.phase not in HAVE_IT or record.taken_back or facts.superseded_by:
        return FINAL
    if record.before is None or record.before == rollout.release:
        return FINAL  # it was never told, or ran the release before: nothing of ours is to be taken back
    if rollout.revert_waves and record.wave not in rollout.revert_waves:
        return FINAL
    if rollout.state is State.REVERTED and not rollout.revert_waves:
        return FINAL
    return Wait("", None, "back")
