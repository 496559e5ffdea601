"""What operators see of devices: facts from the store, judged by `fleet_server.view`."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_protocol.documents.device import Event, Reported
from fleet_protocol.documents.fleet import DeviceView, FleetSpec
from fleet_server.selection import contact_of, selects
from fleet_server.store.api import Facts
from fleet_server.store.records import Contact, DesiredRow, Mark, ReportedRow
from fleet_server.view import Known, judge
from provisioning.authority.records import DeviceRecord

EVENTS_IN_DESCRIBE = 50


def all_devices(facts: Facts, now: int, device_ids: Sequence[str] | None = None) -> list[DeviceView]:
    """Every active device, or those that are named."""
    fleets, contacts = facts.fleets(), facts.contacts(device_ids)
    reported, desired = facts.reported_rows(device_ids), facts.desired_rows(device_ids)
    return [
        _view(d, fleets, contacts.get(d.device_id), reported.get(d.device_id), desired.get(d.device_id), (), now)
        for d in facts.devices(device_ids)
    ]


def one_device(facts: Facts, device: DeviceRecord, now: int) -> DeviceView:
    """One device, with its newest events."""
    name = device.device_id
    events = tuple(stored.event for stored in facts.events(name, EVENTS_IN_DESCRIBE))
    contact = facts.contacts([name]).get(name)
    return _view(device, facts.fleets(), contact, facts.reported(name), facts.desired(name), events, now)


def _view(
    device: DeviceRecord,
    fleets: Sequence[FleetSpec],
    contact: Contact | None,
    row: ReportedRow | None,
    desired: DesiredRow | None,
    events: tuple[Event, ...],
    now: int,
) -> DeviceView:
    # It was read strictly when it came in.
    reported = Reported.model_validate_json(row.document) if row else None
    mine = [fleet for fleet in fleets if selects(fleet, device.labels)]
    seen = contact.last_seen if contact else None
    online = contact.online if contact else False
    mark = Mark(desired.generation, desired.sha256) if desired else Mark()
    state, why = judge(Known(reported, seen, online, mark, contact_of(mine, device.labels)), now)
    return DeviceView(
        device_id=device.device_id,
        labels=dict(device.labels),
        state=state,
        why=why,
        online=online,
        last_seen=seen,
        enrolled_at=device.enrolled_at,
        fingerprint=device.fingerprint,
        certificate_expires=device.certificate_expires,
        desired_generation=mark.generation,
        desired_sha256=mark.sha256,
        fleets=tuple(fleet.name for fleet in mine),
        reported=reported,
        events=events,
    )
