"""Builders for the server's tests: rows, releases, worlds."""

from __future__ import annotations

from typing import Any

from trust_support import release_value

from fleet_protocol.documents.device import Event
from fleet_protocol.documents.fleet import FleetSpec, PlanRequest
from fleet_protocol.documents.release import Release
from fleet_server.plan_world import DeviceFacts, ReleaseFacts, World
from fleet_server.store.records import Contact, DesiredRow, EventBatch, Ingested, Mark
from provisioning.authority.records import DeviceRecord, EnrolmentRecord, TokenRecord

NOW = 1_790_000_000
SPOOL = "0123456789abcdef"


def a_token(name: str = "tokenaaaa", **over: Any) -> TokenRecord:
    fields: dict[str, Any] = {
        "token_id": name, "secret": "s" * 43, "labels": {"site": "lab"}, "uses": 1, "uses_left": 1, "issued_at": NOW,
        "expires": NOW + 3600, "auto_approve": False, "device_id": None, "issued_by": "ops",
    }  # fmt: skip
    return TokenRecord(**{**fields, **over})


def a_request(name: str = "requestaa", **over: Any) -> EnrolmentRecord:
    fields: dict[str, Any] = {
        "request_id": name, "token_id": "tokenaaaa", "status": "pending", "requested_name": "cam-1",
        "fingerprint": "f" * 64, "public_pem": "PEM", "labels": {"site": "lab"}, "asked_at": NOW,
        "host": {"platform": "linux/amd64"},
    }  # fmt: skip
    return EnrolmentRecord(**{**fields, **over})


def a_device(name: str = "cam-1", **over: Any) -> DeviceRecord:
    fields: dict[str, Any] = {
        "device_id": name, "labels": {"site": "lab"}, "fingerprint": "f" * 64, "public_pem": "PEM",
        "certificate_pem": "CERT", "certificate_serial": 2**158 + 7, "certificate_expires": NOW + 86400,
        "enrolled_at": NOW,
    }  # fmt: skip
    return DeviceRecord(**{**fields, **over})


def enrol(store: Any, name: str = "cam-1", **over: Any) -> DeviceRecord:
    """A device in the store, by the way that every device goes."""
    token, request = f"t{name}".replace("-", "0").ljust(8, "0"), f"r{name}".replace("-", "0").ljust(8, "0")
    store.add_token(a_token(token))
    assert store.admit(a_request(request, token_id=token), NOW) is not None
    device = a_device(name, **over)
    assert store.approve(request, device, "ops").value == "done"
    return device


def a_desired(name: str = "cam-1", generation: int = 1, **over: Any) -> DesiredRow:
    fields: dict[str, Any] = {
        "device_id": name, "generation": generation, "sha256": f"{generation:064x}", "payload": b"{}",
        "envelope": b"{ }", "issued_at": NOW, "expires": NOW + 86400,
    }  # fmt: skip
    return DesiredRow(**{**fields, **over})


def an_event(seq: int, **over: Any) -> Event:
    return Event(**{"seq": seq, "at": NOW, "kind": "app.started", "text": f"event {seq}", **over})


def some_events(*numbers: int, name: str = "cam-1", spool: str = SPOOL) -> Ingested:
    batch = EventBatch(name, spool, tuple(an_event(n) for n in numbers))
    return Ingested(NOW, (Contact(name, NOW, online=True),), (), (batch,))


def a_contact(name: str = "cam-1", generation: int | None = None, sha256: str | None = None, **over: Any) -> Ingested:
    said = None if generation is None else Mark(generation, sha256)
    fields: dict[str, Any] = {"device_id": name, "last_seen": NOW, "online": True, "said": said}
    return Ingested(NOW, (Contact(**{**fields, **over}),))


def release_facts(app: str = "cam", version: str = "1.9.0", counter: int = 1, **over: Any) -> ReleaseFacts:
    facts = {key: over.pop(key) for key in ("min_counter", "withdrawn") if key in over}
    release = Release.from_value(release_value(app, version, counter, **over))
    return ReleaseFacts(release, f"{abs(hash((app, version))):064x}"[-64:], **facts)


def a_world(
    *fleets: FleetSpec, devices: tuple[DeviceFacts, ...] = (), releases: tuple[ReleaseFacts, ...] = ()
) -> World:
    known = {(r.release.app, r.release.version): r for r in releases or (release_facts(),)}
    return World({f.name: f for f in fleets}, devices or (DeviceFacts("cam-1", {"site": "lab"}),), known)


def a_fleet(name: str = "lab", *run: str, **over: Any) -> FleetSpec:
    apps = [dict(zip(("app", "version"), r.split("@"), strict=True)) for r in run or ("cam@1.9.0",)]
    return FleetSpec.from_value({"name": name, "select": {"site": "lab"}, "run": apps, **over})


def change(*fleets: FleetSpec, remove: tuple[str, ...] = ()) -> PlanRequest:
    return PlanRequest(fleets=fleets, remove=remove)
