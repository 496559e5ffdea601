"""Which ids a container starts with: numbers, at most 65535, from the release or from the image's own tables.

The runtime is only ever given numbers, so that it parses nothing of the image (rows 43 and 48).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_daemon.prepare.errors import SealError
from edge_daemon.prepare.rootfs import MergedRoot

MAX_ID = 65535
MAX_GROUPS = 32
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")


class Identity(NamedTuple):
    """Ids inside the container."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def resolve_user(spec: str, root: MergedRoot, element: str) -> Identity:
    """`user[:group]`, each a number or a name of the image. Raises SealError for what is neither, or beyond 65535."""
    user, colon, group = spec.partition(":")
    people = _table(root.read_text("/etc/passwd"), 4)
    groups = _table(root.read_text("/etc/group"), 3)
    name, uid, gid = _person(user, people, element)
    if colon and group:
        gid = _group(group, groups, element)
        return Identity(uid, gid, ())
    extra = sorted({_number(row[2], element) for row in groups if name and len(row) > 3 and name in row[3].split(",")})
    return Identity(uid, gid, tuple(g for g in extra if g != gid)[:MAX_GROUPS])


def _person(user: str, people: list[list[str]], element: str) -> tuple[str, int, int]:
    if not user:
        user = "0"
    if user.isascii() and user.isdecimal():
        uid = _number(user, element)
        for row in people:
            if row[2] == user:
                return row[0], uid, _number(row[3], element)
        return "", uid, 0
    if not _NAME.fullmatch(user):
        raise SealError(f"user {user[:40]!r} is neither a number nor a name", element=element)
    for row in people:
        if row[0] == user:
            return user, _number(row[2], element), _number(row[3], element)
    raise SealError(
        f"user {user} is not in the image's /etc/passwd", element=element, hint="set user to a number in the release"
    )


def _group(group: str, groups: list[list[str]], element: str) -> int:
    if group.isascii() and group.isdecimal():
        return _number(group, element)
    for row in groups:
        if row[0] == group:
            return _number(row[2], element)
    raise SealError(f"group {group[:40]!r} is not in the image's /etc/group", element=element)


def _table(text: str, fields: int) -> list[list[str]]:
    rows = (line.split(":") for line in text.splitlines()[:10_000])
    return [row for row in rows if len(row) >= fields]


def _number(text: str, element: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MAX_ID):
        raise SealError(f"id {text[:20]!r} is not a number up to {MAX_ID}", element=element)
    return int(text)
