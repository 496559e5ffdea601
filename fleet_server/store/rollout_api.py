"""What the server asks of its store about rollouts; `fleet_server.store.api` makes it a part of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from fleet_server.store.rollout_records import (
    DecisionRow,
    MemberRow,
    PinRow,
    QuarantineRow,
    RolloutRow,
    VerbRow,
    WatchedRow,
)


class RolloutFacts(Protocol):
    """The reading half."""

    def rollouts(self, *, open_only: bool = False) -> list[RolloutRow]:
        """All, or those in which something may still happen by itself; the oldest first."""

    def rollout(self, rollout_id: str) -> RolloutRow | None:
        """One."""

    def newest_rollouts(self) -> list[RolloutRow]:
        """The newest of each app of each fleet."""

    def members(self, rollout_id: str) -> list[MemberRow]:
        """Every device of a rollout, by name."""

    def member_names(self, rollout_id: str, without: str) -> frozenset[str]:
        """Devices of a rollout in any phase but `without`."""

    def verbs(self, rollout_id: str) -> list[VerbRow]:
        """What was asked of a rollout, in order."""

    def decisions(self, rollout_id: str, limit: int) -> list[DecisionRow]:
        """The newest ones, oldest first."""

    def quarantines(self) -> list[QuarantineRow]:
        """Releases that nobody gets now."""

    def pins(self) -> list[PinRow]:
        """All, those that are over included."""

    def watched(self, device_ids: Sequence[str] | None = None) -> list[WatchedRow]:
        """All that is known of these devices, of all with None; revoked ones are left out."""


class RolloutStore(RolloutFacts, Protocol):
    """All of it."""

    def put_rollout(self, row: RolloutRow) -> None:
        """Insert it, or write down where it stands now; what it brings stays as it was."""

    def put_members(self, rows: Iterable[MemberRow]) -> None:
        """Insert or replace."""

    def drop_members(self, rollout_id: str, device_ids: Iterable[str]) -> None:
        """These are no devices of the rollout any more."""

    def put_verb(self, row: VerbRow) -> None:
        """Keep what was asked."""

    def put_decisions(self, rows: Iterable[DecisionRow]) -> None:
        """Append to the history."""

    def put_quarantine(self, row: QuarantineRow) -> None:
        """The first reason stays."""

    def lift_quarantine(self, app: str, release: str) -> bool:
        """False if it was in none."""

    def put_pin(self, row: PinRow) -> None:
        """Insert or replace."""

    def drop_pin(self, device_id: str, app: str) -> bool:
        """False if there was none."""
