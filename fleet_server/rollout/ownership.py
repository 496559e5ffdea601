"""Concurrent rollouts on overlapping devices: one owner for each device and app, and the others say why they wait.

Rules: a rollout that has a device in hand keeps it until the device is done. Of the others, the one that was started
last owns it, and older ones leave the device to it. Pure: the answers become `owner` and `superseded_by` of the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fleet_server.rollout.machine import IN_HAND
from fleet_server.rollout.state import Phase, RolloutRecord, State


class Claim(NamedTuple):
    """One rollout's hold on one device."""

    rollout: RolloutRecord
    phase: Phase


class Answer(NamedTuple):
    """For one rollout and device: who has it in hand instead, and who makes this rollout's release old."""

    owner: str = ""
    superseded_by: str = ""


FREE = Answer()


def owners(claims: Iterable[Claim]) -> Mapping[str, Answer]:
    """By rollout, of all claims on one device and app, in whatever order they come."""
    alive = sorted((c for c in claims if c.rollout.state is not State.PLANNED), key=_age)
    busy = next((c.rollout.rollout_id for c in alive if c.phase in IN_HAND), "")
    # A rollout that was stopped or taken back brings nothing, so it makes nothing old.
    newest = next((c.rollout.rollout_id for c in reversed(alive) if _brings(c)), "")
    order = [c.rollout.rollout_id for c in alive]
    return {
        c.rollout.rollout_id: Answer(
            owner="" if busy in ("", c.rollout.rollout_id) else busy,
            superseded_by=newest if newest and order.index(newest) > position else "",
        )
        for position, c in enumerate(alive)
    }


def _brings(claim: Claim) -> bool:
    return claim.rollout.state in (State.RUNNING, State.PAUSED, State.COMPLETE) and claim.phase is not Phase.LEFT_OUT


def _age(claim: Claim) -> tuple[int, str]:
    return claim.rollout.started_at, claim.rollout.rollout_id
