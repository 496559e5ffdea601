"""Versions of container runtimes, and which known faults they have. Reported, never refused: distributions mend old
ones.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Version = tuple[int, int, int, int]
"""major, minor, patch, and the release candidate's number; a release counts as the highest candidate."""

RELEASE = 1 << 30


class Fault(NamedTuple):
    """A published fault of one program."""

    program: str
    name: str
    mended: tuple[str, ...]  # the first good version of each branch that got the fix, ascending
    packages: tuple[str, ...] = ()  # distributions' revisions that carry the fix in an older version


FAULTS = (
    Fault("runc", "CVE-2024-21626", ("1.1.12",), ("1.1.5+ds1-1+deb12u1",)),
    Fault("runc", "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", ("1.2.8", "1.3.3", "1.4.0-rc.3")),
    Fault("runc", "CVE-2026-41579", ("1.3.6", "1.4.3", "1.5.0")),
    Fault("crun", "CVE-2026-30892", ("1.27",)),
)


def parse(text: str) -> Version | None:
    """The version in `text`, distributions' additions left aside; None if there is none."""
    found = re.match(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:[-~]rc\.?(\d{1,6}))?", text)
    if found is None:
        return None
    major, minor, patch, candidate = found.groups()
    return int(major), int(minor), int(patch or 0), int(candidate) if candidate else RELEASE


def has(fault: Fault, version: str, package: str = "") -> bool | None:
    """Whether this version has the fault; None if it cannot be told.

    A branch (major.minor) is mended from its own floor on; one above all floors has the fix from its start; one
    that got no fix of its own has the fault.
    """
    ours = parse(version)
    if ours is None:
        return None
    if package and any(_same_or_later_revision(package, mended) for mended in fault.packages):
        return False
    floors = [floor for floor in map(parse, fault.mended) if floor is not None]
    of_branch = [floor for floor in floors if floor[:2] == ours[:2]]
    if of_branch:
        return ours < of_branch[0]
    return ours < max(floors)


def faults_of(program: str, version: str, package: str = "") -> list[Fault]:
    """The faults that this version is known to have."""
    return [fault for fault in FAULTS if fault.program == program and has(fault, version, package)]


def _same_or_later_revision(package: str, mended: str) -> bool:
    """Within one upstream version, `...+deb12u2` follows `...+deb12u1`; anything else must be equal."""
    if package == mended:
        return True
    ours, theirs = (re.fullmatch(r"(.*\+deb\d+u)(\d{1,4})", text) for text in (package, mended))
    return bool(ours and theirs and ours[1] == theirs[1] and int(ours[2]) >= int(theirs[2]))
