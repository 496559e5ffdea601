"""The director: signs what each device shall run, and nothing but what was planned and applied.

A generation grows by one with each signature for a device, and always above whatever the device says that it has
accepted: after an old backup was restored, the next document is still newer to the device. Signing again without a
change (`renew`, `overtake`) repeats the same apps and settings; a change of labels or fleets reaches nobody by itself.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from fleet_protocol.documents.desired import DESIRED_TYPE, DesiredState
from fleet_protocol.documents.fleet import Applied, Plan, PlanRequest
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import Signer
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES, MAX_INTEGER, PLATFORM_PATTERN, matches
from fleet_server.errors import ConflictError, RefusedError
from fleet_server.plan import AppId, Computed, DeviceFacts, Intended, ReleaseFacts, World, compute
from fleet_server.store.api import Facts, Store
from fleet_server.store.records import AuditEntry, DesiredRow, Mark
from provisioning.authority.records import DeviceRecord

LIFE_S = 30 * 86400
RENEW_S = 10 * 86400
HIGHEST_CLAIM = MAX_INTEGER - 1_000_000
"""A device that claims more is lying or broken; its generation is not chased."""

NO_SCOPE: Mapping[str, str] = {}

log = logging.getLogger("roadstead.director")


class Director:
    """Plans and applies over a store. `changed` hears the names of devices that have a new desired state."""

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
        self._changed = changed
        self._lock = threading.Lock()  # one apply, renewal or overtaking at a time

    def plan(self, request: PlanRequest, scope: Mapping[str, str] = NO_SCOPE) -> Plan:
        """What would change, to devices that have all labels of `scope`; writes nothing."""
        return self._compute(self._store, request, scope).plan

    def apply(self, plan: Plan, who: str, now: int, scope: Mapping[str, str] = NO_SCOPE) -> Applied:
        """Do exactly what `plan` says. Raises ConflictError if the world has moved, RefusedError if it has refusals."""
        with self._lock:
            computed = self._compute(self._store, plan.request, scope)
            if computed.plan.world != plan.world or computed.plan.devices != plan.devices:
                raise ConflictError("the fleet has changed since this plan was made", hint="plan again")
            if computed.plan.refusals:
                raise RefusedError(computed.plan.refusals[0].sentence)
            rows, expected = self._signed(computed.intended, now)
            fleets = [computed.fleets[f.name] for f in plan.request.fleets]
            names = [f.name for f in fleets]
            detail = {
                "fleets": names,
                "removed": list(plan.request.remove),
                "devices": len(rows),
                "world": plan.world,
            }
            with self._store.transaction():
                for digest, data in computed.values.items():
                    self._store.put_value(digest, data)
                self._store.put_fleets(fleets, plan.request.remove)
                if not self._store.put_desired(rows, expected):
                    raise ConflictError("a device has changed since this plan was made", hint="plan again")
                self._store.record(AuditEntry(now, who, "apply", ",".join(names)[:200], detail))
        log.info("apply by %s: %d devices", who, len(rows))
        self._changed([row.device_id for row in rows])
        return Applied(devices=len(rows), generations={row.device_id: row.generation for row in rows})

    def renew(self, now: int) -> int:
        """Sign anew what expires soon and was not accepted yet, so that a device that comes back late can accept it."""
        with self._lock:
            contacts = self._store.contacts()
            rows = self._store.desired_rows()
            active = set(self._store.active_device_ids())
            accepted = {name for name, row in rows.items() if name in contacts and contacts[name].said == _mark(row)}
            due = [row for name, row in rows.items() if name in active - accepted and row.expires - now < RENEW_S]
            return self._again(due, now, "renew")

    def overtake(self, claims: Mapping[str, Mark], now: int) -> int:
        """Devices have accepted what this store does not know of (an old backup came back): sign above that."""
        with self._lock:
            rows = self._store.desired_rows(list(claims))
            behind = [row for name, row in rows.items() if is_ahead(claims[name], _mark(row))]
            return self._again(behind, now, "overtake", claims)

    # --- within

    def _compute(self, facts: Facts, request: PlanRequest, scope: Mapping[str, str]) -> Computed:
        world = read_world(facts, self._releases())
        if scope:
            mine = tuple(d for d in world.devices if scope.items() <= d.labels.items())
            world = World(world.fleets, mine, world.releases)
        return compute(world, request)

    def _again(
        self, rows: Sequence[DesiredRow], now: int, action: str, claims: Mapping[str, Mark] | None = None
    ) -> int:
        states = {row.device_id: _state(row) for row in rows}
        intended = {name: Intended(state.apps, state.settings) for name, state in states.items()}
        signed, expected = self._signed(intended, now, claims)
        if not signed:
            return 0
        with self._store.transaction():
            if not self._store.put_desired(signed, expected):
                return 0
            names = sorted(intended)
            self._store.record(AuditEntry(now, "fleet-server", action, names[0], {"devices": len(names)}))
        log.info("%s: %d devices", action, len(signed))
        self._changed(sorted(intended))
        return len(signed)

    def _signed(
        self, intended: Mapping[str, Intended], now: int, claims: Mapping[str, Mark] | None = None
    ) -> tuple[list[DesiredRow], dict[str, int]]:
        had = self._store.desired_rows(list(intended))
        contacts = self._store.contacts()
        out: list[DesiredRow] = []
        expected: dict[str, int] = {}
        for name, state in intended.items():
            current = had[name].generation if name in had else 0
            contact = contacts.get(name)
            said = [contact.said] if contact and contact.said else []
            known = [m.generation for m in (*said, (claims or {}).get(name, Mark())) if m.generation <= HIGHEST_CLAIM]
            expected[name] = current
            out.append(sign_state(self._signer, name, max(current, *known, 0) + 1, state, now))
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
    return World({f.name: f for f in facts.fleets()}, devices, releases)


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
