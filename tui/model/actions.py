"""What changes something: the question that is asked before, with its consequences and the equal command. Pure.

Mild acts ask nothing, moderate ones yes or no, severe ones want a name typed; in a context marked prod everything
moderate is severe.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal, NamedTuple

from tui.model.line import Line, Piece, line
from tui.model.rollouts import Rollout
from tui.model.rows import DeviceRow, Enrolment
from tui.model.text import plural

Level = Literal["moderate", "severe"]
PROD = "prod"


class Act(NamedTuple):
    """The verb of a Source, and whom it concerns: one call of the server's API for each."""

    verb: str
    targets: tuple[str, ...]


class Question(NamedTuple):
    """A dialog."""

    title: str
    lines: tuple[Line, ...]
    command: str
    yes: str
    act: Act
    level: Level = "moderate"
    confirm: str = ""  # to be typed
    reason: bool = False  # asks for one; it is audited


def severe_in(environment: str, question: Question, context: str) -> Question:
    """The same, as the context wants it."""
    if environment == PROD and question.level == "moderate":
        return question._replace(level="severe", confirm=context)
    return question


def approve(requests: Sequence[Enrolment]) -> Question:
    """The words are what a person compares; without them the question makes no sense."""
    shown: list[Line] = []
    for request in requests[:6]:
        shown += [line(Piece(request.name, "strong")), line(Piece(f"  {request.words}", "words"))]
    more = [line(Piece(f"and {len(requests) - 6} more", "dim"))] if len(requests) > 6 else []
    return Question(
        title=f"Let {plural(len(requests), 'host')} in",
        lines=(line("Does the host show these words?"), line(), *shown, *more),
        command="; ".join(f"fleet enroll approve {shlex.quote(r.request)}" for r in requests[:3]) + _etc(requests[3:]),
        yes="they are the same: approve",
        act=Act("approve", tuple(r.request for r in requests)),
    )


def reject(requests: Sequence[Enrolment]) -> Question:
    """A host that is turned away needs a new token."""
    return Question(
        title=f"Turn {plural(len(requests), 'host')} away",
        lines=(
            line(", ".join(r.name for r in requests[:6]) + _etc(requests[6:])),
            line(Piece("They need a new token to ask again.", "dim")),
        ),
        command="; ".join(f"fleet enroll reject {shlex.quote(r.request)}" for r in requests[:3]) + _etc(requests[3:]),
        yes="reject",
        act=Act("reject", tuple(r.request for r in requests)),
    )


def decommission(devices: Sequence[DeviceRow]) -> Question:
    """The identity ends at once; what runs there goes on, and nobody can change it any more."""
    names = [d.name for d in devices]
    online = sum(d.online for d in devices)
    return Question(
        title=f"Take {plural(len(devices), 'device')} out of the fleet, for good",
        lines=(
            line(Piece(", ".join(names[:6]) + _etc(names[6:]), "strong")),
            line(),
            line(f"{plural(online, 'connected device')}: the session ends at once"),
            line(
                f"{plural(len(devices) - online, 'device')} away: the certificate is worth nothing when they come back"
            ),
            line("What runs there goes on running, and cannot be changed from here."),
            line(Piece("To come back, a host is enrolled anew.", "dim")),
        ),
        command="; ".join(f"fleet device decommission {shlex.quote(n)}" for n in names[:3]) + _etc(names[3:]),
        yes="decommission",
        act=Act("decommission", tuple(names)),
        level="severe",
        confirm=names[0] if len(names) == 1 else str(len(names)),
    )


def pause(rollout: Rollout) -> Question:
    """Pausing and going on are one key."""
    verb = {"paused": "resume", "planned": "start"}.get(rollout.state, "pause")
    updating = sum(w.counts["updating"] + w.counts["proving"] for w in rollout.waves)
    said = (
        {"resume": "Waves go on where they stopped.", "start": "The first wave opens."}[verb]
        if verb != "pause"
        else f"No further device is given {rollout.title}; {plural(updating, 'device')} under way "
        f"{'finishes' if updating == 1 else 'finish'}."
    )
    return Question(
        title=f"{verb.capitalize()} {rollout.title}",
        lines=(line(said),),
        command=f"fleet rollout {verb} {shlex.quote(rollout.ident)}",
        yes=verb,
        act=Act(verb, (rollout.ident,)),
    )


def promote(rollout: Rollout) -> Question:
    """Past soak and gates, which is why it says what they say."""
    number = rollout.at_wave
    wave = rollout.waves[number - 1] if rollout.waves else None
    lines: list[Line] = []
    if wave is not None:
        open_gates = [g for g in wave.gates if g.state != "passed"]
        lines = [
            line(f"Wave {number} of {len(rollout.waves)} ({wave.name}) is taken as passed: "),
            line(f"{wave.counts['healthy']:,} healthy, {wave.counts['failed']:,} failed, of {wave.size:,} devices"),
            *(line(Piece(f"not passed: {g.text} ({g.said or g.state})", "degraded")) for g in open_gates[:4]),
        ]
        if number < len(rollout.waves):
            following = rollout.waves[number]
            lines.append(line(f"Wave {number + 1} ({following.name}) opens: {plural(following.size, 'device')}."))
    return Question(
        title=f"Promote {rollout.title}",
        lines=tuple(lines),
        command=f"fleet rollout promote {shlex.quote(rollout.ident)}",
        yes="promote",
        act=Act("promote", (rollout.ident,)),
    )


def abort(rollout: Rollout, confirm: str) -> Question:
    """What happens to each device, in numbers."""
    count = {
        name: sum(w.counts[name] for w in rollout.waves) for name in ("healthy", "updating", "proving", "deferred")
    }
    left = rollout.devices - rollout.done - count["updating"] - count["proving"]
    return Question(
        title=f"Abort {rollout.title} and revert",
        lines=(
            line(Piece(f"{count['healthy']:>7,} ", "strong"), "go back to the release they had (kept on disk)"),
            line(Piece(f"{count['updating'] + count['proving']:>7,} ", "strong"), "under way: stop, and go back"),
            line(Piece(f"{count['deferred']:>7,} ", "strong"), "away: go back at their next contact"),
            line(Piece(f"{max(0, left - count['deferred']):>7,} ", "strong"), "not begun: stay as they are"),
        ),
        command=f"fleet rollout abort {shlex.quote(rollout.ident)} --revert --reason {shlex.quote('...')}",
        yes="abort and revert",
        act=Act("revert", (rollout.ident,)),
        level="severe",
        confirm=confirm,
        reason=True,
    )


def _etc(rest: Sequence[object]) -> str:
    return f"; and {len(rest)} more" if rest else ""
