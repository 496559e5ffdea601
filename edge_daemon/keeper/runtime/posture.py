"""Is the runtime found here one with known faults? Reported with the version that mends them; never refused.

Distributions mend faults without changing the version, so this says "below the floor of", not "open to".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_daemon.keeper.runtime import programs
from edge_daemon.keeper.runtime.choose import Chosen

Version = tuple[int, int, int]


class Floor(NamedTuple):
    """The first mended version of each line; a line newer than all of them began mended."""

    faults: str
    mended: tuple[Version, ...]


FLOORS = {
    "runc": (
        Floor("CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", ((1, 2, 8), (1, 3, 3), (1, 4, 0))),
        Floor("CVE-2026-41579", ((1, 3, 6), (1, 4, 3), (1, 5, 0))),
    ),
    "crun": (Floor("CVE-2026-30892", ((1, 27, 0),)),),
}


class Posture(NamedTuple):
    """What is known of a runtime's version."""

    kind: str
    version: str
    faults: tuple[str, ...]  # below the floor of these
    mended_in: str  # the lowest version of its line, or of the next, that is above every floor


def look(chosen: Chosen) -> Posture:
    """Ask the runtime for its version."""
    return judge(chosen.kind, programs.run([chosen.path, "--version"]).out.decode(errors="replace"))


def judge(kind: str, said: str) -> Posture:
    """The posture of a runtime that says this of its version."""
    match = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", said)
    if match is None:
        return Posture(kind, "", ("version unknown",), "")
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    open_floors = [floor for floor in FLOORS.get(kind, ()) if version < _mend(floor, version)]
    mended = max((_mend(floor, version) for floor in open_floors), default=None)
    return Posture(kind, _text(version), tuple(floor.faults for floor in open_floors), _text(mended) if mended else "")


def _mend(floor: Floor, version: Version) -> Version:
    """The first mended version of the version's own line, else of the next line that has one."""
    return next((mended for mended in floor.mended if mended[:2] >= version[:2]), version)


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}" + (f".{version[2]}" if version[2] else "")
