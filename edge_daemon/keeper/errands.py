"""What a child process of the keeper did, and what it may have left: read by the loop. Pure."""

from __future__ import annotations

import json

from edge_daemon.keeper.ports import Seen


def failure(said: list[bytes], status: int) -> dict[str, object] | None:
    """None if the child did its work; else its error."""
    try:
        answer = json.loads(said[-1]) if said else {}
    except ValueError:
        answer = {}
    if status == 0 and isinstance(answer, dict) and answer and "failed" not in answer:
        return None
    failed = answer.get("failed") if isinstance(answer, dict) else None
    if isinstance(failed, dict):
        return failed
    return {"sentence": f"the child process that starts containers ended with status {status}", "retry": True}


def whole(one: Seen, revision: str | None) -> Seen | None:
    """A container that a starter left half-made counts as absent if its revision is wanted: starting it again mends it,
    and waits for a starter that is still at it. Of another revision it counts as ended.
    """
    if one.started_at is not None:
        return one
    return None if one.revision == revision else one._replace(pid=None)


def ignore(_line: bytes) -> None:
    """Output that nobody needs."""
