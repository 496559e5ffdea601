"""What the server asks of its store. `tests/contracts/store` runs one suite over every implementation.

Every call is synchronous, safe from any thread, and durable when it returns. A writing call is one transaction; several
become one inside `transaction()`. Enrolment's part of the store stands beside its consumer
(`provisioning.authority.records.EnrolmentStore`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from fleet_protocol.documents.fleet import FleetSpec
from fleet_server.store.records import (
    AuditEntry,
    AuditRow,
    Contact,
    DesiredRow,
    Ingested,
    ManifestRow,
    Mark,
    Operator,
    ReportedRow,
    StoredEvent,
)
from fleet_server.store.rollout_api import RolloutFacts, RolloutStore
from provisioning.authority.records import DeviceRecord, EnrolmentStore


class Facts(RolloutFacts, Protocol):
    """The reading half: all that planning and looking need."""

    def devices(self, device_ids: Sequence[str] | None = None) -> list[DeviceRecord]:
        """Every device that is not revoked, by name; or those of them that are named."""

    def fleets(self) -> list[FleetSpec]:
        """Every fleet, by name."""

    def desired(self, device_id: str) -> DesiredRow | None:
        """The newest desired state of a device."""

    def desired_rows(self, device_ids: Sequence[str] | None = None) -> dict[str, DesiredRow]:
        """The same for many; None: for all."""

    def marks(self, device_ids: Sequence[str]) -> dict[str, Mark]:
        """Generation and hash of the desired state of each of these that is an active device; others are left out."""

    def contacts(self, device_ids: Sequence[str] | None = None) -> dict[str, Contact]:
        """What each of these last said; None: all devices."""

    def reported(self, device_id: str) -> ReportedRow | None:
        """The newest reported state of a device."""

    def reported_rows(self, device_ids: Sequence[str] | None = None) -> dict[str, ReportedRow]:
        """The same for many; None: for all."""

    def platforms(self) -> dict[str, str]:
        """What each device says of its platform (`host.platform`), in its newest report, else in its enrolment."""

    def value(self, sha256: str) -> bytes | None:
        """A configuration value above 1 KiB."""

    def events(self, device_id: str | None, limit: int, before: int | None = None) -> list[StoredEvent]:
        """Newest first, by arrival; only those whose number is below `before`."""

    def events_after(self, device_id: str | None, number: int, limit: int) -> list[StoredEvent]:
        """Those that arrived later than the one with this number, oldest first."""

    def spools(self) -> dict[tuple[str, str], int]:
        """(device, spool) -> the number through which every event is stored."""

    def audit_rows(self) -> Iterator[AuditRow]:
        """The whole chain, oldest first."""

    def only_reading(self) -> AbstractContextManager[None]:
        """Inside, every write of this thread raises ReadOnlyError before it changes anything."""

    def audit_after(self, seq: int, limit: int) -> list[AuditRow]:
        """Rows behind this one, oldest first."""

    def audit_before(self, seq: int, limit: int) -> list[AuditRow]:
        """Rows ahead of this one, newest first."""

    def audit_head(self) -> tuple[int, str]:
        """Number and hash of the last row; (0, 64 zeros) of an empty log."""

    def manifest(self, app: str, reference: str) -> ManifestRow | None:
        """A manifest by digest or tag."""

    def tags(self, app: str) -> list[str]:
        """Tags of an app's repository, sorted."""


class Store(Facts, RolloutStore, EnrolmentStore, Protocol):
    """All of it."""

    def transaction(self) -> AbstractContextManager[None]:
        """What is written inside becomes durable together, or not at all."""

    def refuse_writes(self, refuse: bool) -> None:
        """While on, every write raises ReadOnlyError before it changes anything."""

    def add_operator(self, operator: Operator) -> None:
        """A new operator. Raises StoreError if the name was ever used."""

    def operator_by_token(self, token_sha256: str) -> Operator | None:
        """The operator with this token, unless revoked."""

    def operators(self) -> list[Operator]:
        """All, revoked ones included, by name."""

    def revoke_operator(self, name: str, now: int) -> bool:
        """False if unknown or revoked already."""

    def set_labels(self, device_id: str, labels: Mapping[str, str]) -> bool:
        """Replace an active device's labels; False if there is no such device."""

    def put_fleets(self, changed: Iterable[FleetSpec], removed: Iterable[str]) -> None:
        """Insert or replace fleets, and remove others."""

    def put_desired(self, rows: Sequence[DesiredRow], expected: Mapping[str, int]) -> bool:
        """Store desired states if every device still has the generation in `expected` (0: none), else nothing."""

    def put_value(self, sha256: str, data: bytes) -> None:
        """Keep a value; the same one twice is one."""

    def ingest(self, batch: Ingested) -> dict[tuple[str, str], int]:
        """Store a batch in one transaction. For each spool in it: the number through which all its events are stored.

        Events known already are ignored. `last_seen` never goes back, and None leaves it as it is.
        """

    def skip_to(self, device_id: str, spool: str, through: int) -> int:
        """Declare that no event up to `through` will ever come; returns where the spool then stands."""

    def prune_events(self, before: int, keep_per_device: int) -> int:
        """Remove old events, and the oldest of devices with more than their share; where spools stand is kept."""

    def record(self, entry: AuditEntry) -> AuditRow:
        """Append to the audit log."""

    def put_manifest(self, row: ManifestRow, tag: str | None) -> None:
        """Keep a manifest's row, and let `tag` point to it."""

    def close(self) -> None:
        """No call may follow."""
