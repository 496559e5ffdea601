"""`fleet.lock`: what the engineer's side has seen of an app's role; committed beside `app.yaml`.

It is the floor of a machine that keeps no state (CI): a server that shows an older role is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fleet_protocol.documents.base import Document, Sha256
from fleet_protocol.documents.release import role_name
from fleet_protocol.wire import bounds
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import DocumentInvalidError, TrustError

Number = Annotated[int, Field(ge=0, le=bounds.MAX_INTEGER)]


class FleetLock(Document):
    """The newest state that was verified."""

    root_sha256: Sha256  # of root version 1: the pin
    root_version: Number
    role: str
    role_version: Number  # 0: the role has no version yet
    last_counter: Number

    def check(self, app: str, root_version: int, role_version: int, last_counter: int) -> None:
        """Refuse what lies below this lock. Raises TrustError with both numbers."""
        if self.role != role_name(app):
            raise TrustError(f"fleet.lock is of {self.role}", element=role_name(app))
        for what, seen, now in (
            ("root version", self.root_version, root_version),
            ("role version", self.role_version, role_version),
            ("last counter", self.last_counter, last_counter),
        ):
            if now < seen:
                raise TrustError(f"the server shows {what} {now}, and fleet.lock has seen {seen}", element=self.role)


def read_lock(path: Path) -> FleetLock | None:
    """The lock, or None if there is no file. Raises DocumentInvalidError for anything else."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if not data.strip():
        raise DocumentInvalidError("is empty; restore it from version control", element=str(path))
    return FleetLock.parse(data)


def write_lock(path: Path, lock: FleetLock) -> None:
    """Write it for people and version control, one field a line."""
    text = json.dumps(lock.model_dump(mode="json"), indent=2) + "\n"
    replace_durably(path, text.encode(), 0o644)
