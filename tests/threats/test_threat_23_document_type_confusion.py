"""Row 23: a signature over one kind of document, presented as over another."""

from __future__ import annotations

import itertools
import json

import pytest
from trust_support import NOW, Device, World

from fleet_protocol.documents.authorities import AUTHORITIES_PATH, Authorities
from fleet_protocol.documents.desired import DESIRED_TYPE
from fleet_protocol.documents.enrolment import TIME_TYPE
from fleet_protocol.trust import dsse
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError, TrustError

TYPES = [DESIRED_TYPE, TIME_TYPE, "application/vnd.in-toto+json", "", DESIRED_TYPE.upper(), DESIRED_TYPE + " "]


@pytest.mark.parametrize(("signed", "wanted"), [p for p in itertools.product(TYPES, TYPES) if p[0] != p[1]])
def test_threat_23_a_document_is_only_what_it_was_signed_as(world: World, signed: str, wanted: str) -> None:
    envelope = dsse.sign(b"{}", signed, world.director)
    with pytest.raises(TrustError, match="is of type"):
        dsse.verify(envelope, wanted, (world.director.public,), max_bytes=999)
    relabelled = json.loads(envelope)
    relabelled["payloadType"] = wanted
    with pytest.raises(TrustError, match="no trusted key signed it"):
        dsse.verify(json.dumps(relabelled).encode(), wanted, (world.director.public,), max_bytes=999)


def test_threat_23_type_and_payload_cannot_be_shifted_into_each_other(world: World) -> None:
    """The lengths are signed: bytes moved from the payload into the type give another message."""
    assert dsse.pae("ab", b"cd") != dsse.pae("abc", b"d")
    assert dsse.pae("a 1", b"b") != dsse.pae("a", b"1 b")
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_threat_23_a_reported_state_signed_by_the_director_is_no_desired_state(world: World, device: Device) -> None:
    reported = {"schema": "roadstead/reported/v1", "device_id": "pump-3", "boot_id": "b", "at": 1, "generation": 9}
    with pytest.raises(RoadsteadError, match="DesiredState"):
        device.verify(world.envelope(reported))


def test_threat_23_keys_sign_only_in_their_own_place(world: World, device: Device) -> None:
    device.client.refresh()
    value = world.desired_value()
    for stranger in (world.time_key, world.snapshot, world.timestamp, world.trust.release_signer("cam")):
        with pytest.raises(TrustError, match="no trusted key signed it"):
            device.verify(world.envelope(value, stranger))
    nonce = device.clock.new_nonce()
    with pytest.raises(TrustError, match="no trusted key signed it"):
        device.clock.accept(
            world.time_statement(nonce, NOW, world.director), nonce, device.client.authority_keys("time")
        )


def test_threat_23_metadata_of_one_role_is_not_taken_for_another(world: World, device: Device) -> None:
    world.release()
    snapshot, targets = (world.repository.current(r) for r in ("snapshot", "targets"))
    assert snapshot is not None
    assert targets is not None
    for wrong in (snapshot, targets, world.root):
        device.answers["metadata", "timestamp"] = wrong
        device.boot()
        with pytest.raises(TrustError):
            device.client.refresh()


def test_threat_23_a_desired_state_signed_as_metadata_is_no_envelope(world: World, device: Device) -> None:
    """TUF signs canonical JSON without a type in front; such a signature is none over our message."""
    payload = strict_json.dumps(world.desired_value())
    raw = TufSigner(world.director).sign(payload).signature
    import base64

    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": DESIRED_TYPE,
        "signatures": [{"sig": base64.b64encode(bytes.fromhex(raw)).decode()}],
    }
    with pytest.raises(TrustError, match="no trusted key signed it"):
        device.verify(json.dumps(envelope).encode())


def test_threat_23_authorities_are_read_only_from_their_own_path(world: World, device: Device) -> None:
    device.client.refresh()
    fetched = [name for kind, name, _ in device.asked if kind == "target"]
    folder, _, name = AUTHORITIES_PATH.rpartition("/")
    assert all(n.startswith(f"{folder}/") and n.endswith(f".{name}") for n in fetched)
    with pytest.raises(RoadsteadError):
        Authorities.parse(strict_json.dumps(world.desired_value()))
