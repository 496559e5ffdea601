"""Which name a new device gets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fleet_protocol.wire.bounds import ID_PATTERN, matches

LONGEST = 48
RESERVED = "roadstead"
"""Names that begin so belong to the server and the canaries: the broker knows everybody by name, and
`roadstead-server` may write to every device."""


def sanitised(requested: str, fingerprint: str) -> str:
    """A device identifier as near to `requested` as may be; made from the key where nothing usable is left."""
    name = re.sub(r"[^a-z0-9]+", "-", requested.lower()).strip("-")[:LONGEST].strip("-")
    if not matches(ID_PATTERN, name) or name == "localhost":
        return f"device-{fingerprint[:8]}"
    return f"device-{name}"[:LONGEST].strip("-") if is_reserved(name) else name


def candidates(name: str) -> Iterator[str]:
    """`name`, then `name-2`, `name-3` and so on, each a device identifier."""
    yield name
    for number in range(2, 10_000):
        suffix = f"-{number}"
        yield name[: LONGEST - len(suffix)].rstrip("-") + suffix


def is_reserved(name: str) -> bool:
    """Whether no device may have this name."""
    return name.startswith(RESERVED)
