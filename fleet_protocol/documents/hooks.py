"""Commands that an app may have run around starting and stopping one of its containers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import Document

Argument = Annotated[str, StringConstraints(max_length=4096)]

VETO_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: the one exit code with which a veto says "not now"."""


class Hook(Document):
    """A command in the running container; what has not ended after `timeout_s` is ended."""

    exec_args: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=64)]
    timeout_s: Annotated[int, Field(ge=1, le=60)] = 5


class Veto(Hook):
    """Asked before an update stops the app. `expires_s`: after so long it is not listened to any more."""

    expires_s: Annotated[int, Field(ge=60, le=7 * 86400)] = 6 * 3600


class Hooks(Document):
    """Of one service."""

    veto: Veto | None = None
    pre_stop: Hook | None = None
    post_start: Hook | None = None
