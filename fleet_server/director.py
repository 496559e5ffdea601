"""The director: signs what each device shall run, and nothing but what was planned, applied and decided by a rollout.

A generation grows by one with each signature for a device, and always above whatever the device says that it has
accepted: after an old backup was restored, the next document is still newer to the device. Signing again without a
change (`renew`, `overtake`) repeats the same apps and settings; a change of labels or fleets reaches nobody by itself.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from fleet_protocol.documents.desired import DESIRED_TYPE, DesiredState
from fleet_protocol.documents.fleet import Plan, PlanRequest
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import Signer
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES, MAX_INTEGER, PLATFORM_PATTERN, matches
from fleet_server.controller.change import Change
from fleet_server.errors import ConflictError, RefusedError
from fleet_server.plan import compute
from fleet_server.plan_world import AppId, Begun, Computed, DeviceFacts, Intended, ReleaseFacts, World
from fleet_server.store.api import Facts, Store
from fleet_server.store.records import AuditEntry, Contact, DesiredRow, Mark
from fleet_server.store.rollout_records import RolloutRow
from provisioning.authority.records import DeviceRecord

LIFE_S = 30 * 86400
RENEW_S = 10 * 86400
HIGHEST_CLAIM = MAX_INTEGER - 1_000_000
"""A device that claims more is lying or broken; its generation is not chased."""

NO_SCOPE: Mapping[str, str] = {}

log = logging.getLogger("roadstead.director")


class Director:
    """Plans and signs over a store. `changed` hears the names of devices that have a new desired state."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        releases: Callable[[], Mapping[AppId, ReleaseFacts]],
        changed: Callable[[Iterable[str]], None],
    ) -> None:
        self._store = store
        self._signer = signer
        self._releases = releases
        self.changed = changed
        self.lock = threading.RLock()  # one apply, turn of the rollouts, renewal or overtaking at a time

    def plan(self, request: PlanRequest, scope: Mapping[str, str] = NO_SCOPE) -> Plan:
        """What would change, to devices that have all labels of `scope`; writes nothing."""
        return self.compute(request, scope).plan

    def compute(self, request: PlanRequest, scope: Mapping[str, str] = NO_SCOPE) -> Computed:
        """The same with all that applying it would do."""
        world = read_world(self._store, self._releases())
        if scope:
            world = replace(world, devices=tuple(d for d in world.devices if scope.items() <= d.labels.items()))
        return compute(world, request)

    def put(
        self, intended: Mapping[str, Intended], now: int, claims: Mapping[str, Mark] | None = None
    ) -> dict[str, int]:
        """Sign and store; the generations. To be called within a transaction, with `lock` held; whoever does so tells
        `changed` after it. A device whose document cannot be signed is said and left out. Raises ConflictError."""
        rows, expected = self._signed(intended, now, claims)
        if not self._store.put_desired(rows, expected):
            raise ConflictError("a device has changed since this was decided", retry=True)
        return {row.device_id: row.generation for row in rows}

    def renew(self, now: int) -> int:
        """Sign anew what expires soon and was not accepted yet, so that a device that comes back late can accept it."""
        with self.lock:
            contacts = self._store.contacts()
            rows = self._store.desired_rows()
            active = set(self._store.active_device_ids())
            accepted = {name for name, row in rows.items() if name in contacts and contacts[name].said == _mark(row)}
            due = [row for name, row in rows.items() if name in active - accepted and row.expires - now < RENEW_S]
            due = [row for row in due if not (self._is_ahead(contacts, row) and self._disturbs(row))]
            return self._again(due, now, "renew")

    def overtake(self, claims: Mapping[str, Mark], now: int) -> int:
        """Devices have accepted what this store does not know of (an old backup came back): sign above that.

        Not where something else runs than this store would have it: that is left alone until somebody applies what is
        wanted there, and said meanwhile (`fleet_server.view`).
        """
        with self.lock:
            rows = self._store.desired_rows(list(claims))
            behind = [
                row for name, row in rows.items() if is_ahead(claims[name], _mark(row)) and not self._disturbs(row)
            ]
            return self._again(behind, now, "overtake", claims)

    # --- within

    @staticmethod
    def _is_ahead(contacts: Mapping[str, Contact], row: DesiredRow) -> bool:
        contact = contacts.get(row.device_id)
        return contact is not None and contact.said is not None and is_ahead(contact.said, _mark(row))

    def _disturbs(self, row: DesiredRow) -> bool:
        """Whether telling a device this again would replace or end what it says that it runs."""
        reported = self._store.reported(row.device_id)
        if reported is None:
            return False
        wanted = {app.app: app.release for app in _state(row).apps}
        apps = json.loads(reported.document).get("apps", ())  # parsed and bounded when it came in
        return any(app.get("release") not in (None, wanted.get(app["app"])) for app in apps)

    def _again(
        self, rows: Sequence[DesiredRow], now: int, action: str, claims: Mapping[str, Mark] | None = None
    ) -> int:
        states = {row.device_id: _state(row) for row in rows}
        intended = {name: Intended(state.apps, state.settings) for name, state in states.items()}
        if not intended:
            return 0
        with self._store.transaction():
            signed = self.put(intended, now, claims)
            names = sorted(intended)
            self._store.record(AuditEntry(now, "fleet-server", action, names[0], {"devices": len(names)}))
        log.info("%s: %d devices", action, len(signed))
        self.changed(sorted(signed))
        return len(signed)

    def _signed(
        self, intended: Mapping[str, Intended], now: int, claims: Mapping[str, Mark] | None = None
    ) -> tuple[list[DesiredRow], dict[str, int]]:
        had = self._store.desired_rows(list(intended))
        contacts = self._store.contacts(list(intended))
        out: list[DesiredRow] = []
        expected: dict[str, int] = {}
        for name, state in intended.items():
            current = had[name].generation if name in had else 0
            contact = contacts.get(name)
            said = [contact.said] if contact and contact.said else []
            known = [m.generation for m in (*said, (claims or {}).get(name, Mark())) if m.generation <= HIGHEST_CLAIM]
            try:
                out.append(sign_state(self._signer, name, max(current, *known, 0) + 1, state, now))
            except RefusedError as error:  # too long: planning refuses the whole change, so this is a state in between
                log.error("%s", error)  # noqa: TRY400
                continue
            expected[name] = current
        return out, expected


def is_ahead(claim: Mark, desired: Mark) -> bool:
    """Whether a device has accepted something that the server never sent, as far as it remembers."""
    if not 0 < claim.generation <= HIGHEST_CLAIM or desired.generation == 0:
        return False
    if claim.generation == desired.generation:
        return claim.sha256 is not None and claim.sha256 != desired.sha256
    return claim.generation > desired.generation


def sign_state(signer: Signer, device_id: str, generation: int, state: Intended, now: int) -> DesiredRow:
    """One desired state, signed."""
    payload = DesiredState(
        device_id=device_id,
        generation=generation,
        issued_at=now,
        expires=now + LIFE_S,
        apps=state.apps,
        settings=state.settings,
    ).to_bytes()
    envelope = dsse.sign(payload, DESIRED_TYPE, signer)
    if len(envelope) > MAX_DESIRED_BYTES:
        raise RefusedError(f"its desired state has {len(envelope)} bytes", element=device_id)
    return DesiredRow(device_id, generation, hashlib.sha256(payload).hexdigest(), payload, envelope, now, now + LIFE_S)


def read_world(facts: Facts, releases: Mapping[AppId, ReleaseFacts]) -> World:
    """Everything that planning looks at, read once."""
    desired = facts.desired_rows()
    platforms = facts.platforms()
    devices = tuple(_device(d, desired.get(d.device_id), platforms.get(d.device_id)) for d in facts.devices())
    pinned = {(pin.device_id, pin.app) for pin in facts.pins()}
    begun = {(row.fleet, row.app): _begun(facts, row, pinned) for row in facts.newest_rollouts()}
    return World(
        {f.name: f for f in facts.fleets()},
        devices,
        releases,
        begun,
        {(row.app, row.release): row.reason for row in facts.quarantines()},
        max((row.seq for row in facts.newest_rollouts()), default=0),
    )


def _begun(facts: Facts, row: RolloutRow, pinned: set[tuple[str, str]]) -> Begun:
    change = Change.model_validate_json(row.change)
    members, kept = facts.member_names(row.rollout_id, ""), facts.member_names(row.rollout_id, "left-out")
    return Begun(
        row.rollout_id,
        change.version,
        change.config,
        live=row.state in ("planned", "running", "paused", "complete", "reverting"),
        open=row.state in ("planned", "running", "paused", "complete"),
        members=members,
        left_out=frozenset(name for name in members - kept if (name, row.app) not in pinned),
    )


def _mark(row: DesiredRow) -> Mark:
    return Mark(row.generation, row.sha256)


def _state(row: DesiredRow) -> DesiredState:
    # Our own bytes, from our own store: the strict reading was when they were made, and costs ten times as much.
    return DesiredState.model_validate_json(row.payload)


def _device(device: DeviceRecord, row: DesiredRow | None, platform: str | None) -> DeviceFacts:
    if platform is not None and not matches(PLATFORM_PATTERN, platform):
        platform = None
    if row is None:
        return DeviceFacts(device.device_id, device.labels, platform=platform)
    state = _state(row)
    return DeviceFacts(
        device.device_id, device.labels, row.generation, row.sha256, state.apps, state.settings, platform
    )
