"""Errors of the command itself that no other part raises."""

from __future__ import annotations

import os
from pathlib import Path

from fleet_protocol.wire.errors import RoadsteadError


class LocalFileError(RoadsteadError):
    """The machine would not let us read or write."""

    phase = "reading or writing"
    component = "fleet"
    code = "E0501"

    @classmethod
    def from_os(cls, error: OSError, path: Path | None = None) -> LocalFileError:
        """In the kernel's words, with the file it is about: `path`, where the kernel knows only a draft of it."""
        return cls(error.strerror or str(error), element=str(path or os.fsdecode(error.filename or "")))


class OwnFaultError(RoadsteadError):
    """Something that we did not think of; the one case in which a trace is printed."""

    phase = "working"
    component = "fleet"
    code = "E0599"
