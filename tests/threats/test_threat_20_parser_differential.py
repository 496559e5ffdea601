"""Row 20: documents that two parsers would read in two ways."""

from __future__ import annotations

import pytest
from trust_support import Device, World
from tuf_tampering_support import current

from fleet_protocol.documents.desired import DESIRED_TYPE
from fleet_protocol.trust import dsse
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, RoadsteadError, TrustError

GOOD = (
    b'{"apps":[],"device_id":"pump-3","expires":1890000000,"generation":1,'
    b'"issued_at":1,"schema":"roadstead/desired/v1"}'
)


def swapped(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new)


VECTORS: dict[str, bytes] = {
    "a key twice": swapped(b'"generation":1', b'"generation":1,"generation":9'),
    "a key twice, one escaped": swapped(b'"generation":1', rb'"generation":1,"generatio\u006e":9'),
    "a key twice, deep inside": swapped(b'"apps":[]', b'"apps":[{"app":"a","app":"b"}]'),
    "NaN": swapped(b'"issued_at":1', b'"issued_at":NaN'),
    "Infinity": swapped(b'"issued_at":1', b'"issued_at":Infinity'),
    "minus Infinity": swapped(b'"issued_at":1', b'"issued_at":-Infinity'),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "not UTF-8": swapped(b"pump-3", b"pump-\xff"),
    "overlong UTF-8": swapped(b"pump-3", b"pump-\xc0\xb3"),
    "nesting": swapped(b'"apps":[]', b'"apps":' + b"[" * 5000 + b"]" * 5000),
    "nesting of objects": swapped(b'"apps":[]', b'"apps":' + b'{"a":' * 500 + b"1" + b"}" * 500),
    "a huge number": swapped(b'"issued_at":1', b'"issued_at":' + b"9" * 5000),
    "a huge exponent": swapped(b'"issued_at":1', b'"issued_at":1e999'),
    "a float for an integer": swapped(b'"generation":1', b'"generation":1.0'),
    "an exponent for an integer": swapped(b'"generation":1', b'"generation":1e0'),
    "text for an integer": swapped(b'"generation":1', b'"generation":"1"'),
    "true for an integer": swapped(b'"generation":1', b'"generation":true'),
    "minus zero point": swapped(b'"generation":1', b'"generation":-0'),
    "a lone surrogate": swapped(b"pump-3", rb"pump-\ud800"),
    "a lone surrogate in a list": swapped(b'"apps":[]', rb'"apps":["\ud800"]'),
    "a lone surrogate as a key": swapped(b'"apps":[]', rb'"apps":[],"\udfff":1'),
    "NUL in an identifier": swapped(b"pump-3", rb"pump-3\u0000"),
    "a new line after an identifier": swapped(b'"pump-3"', rb'"pump-3\n"'),
    "single quotes": GOOD.replace(b'"', b"'"),
    "a trailing comma": swapped(b'"issued_at":1', b'"issued_at":1,}').replace(b"},", b"}"),
    "a comment": b"/* */" + GOOD,
    "two documents": GOOD + GOOD,
    "a list around it": b"[" + GOOD + b"]",
    "an unknown field": swapped(b'"apps":[]', b'"apps":[],"x":1'),
    "a field in capitals": swapped(b'"generation"', b'"Generation"'),
    "nothing": b"",
}


def test_threat_20_the_document_that_the_vectors_are_made_from_is_good(world: World, device: Device) -> None:
    assert device.verify(dsse.sign(GOOD, DESIRED_TYPE, world.director)).generation == 1


@pytest.mark.parametrize("payload", VECTORS.values(), ids=VECTORS)
def test_threat_20_a_signed_payload_with(world: World, device: Device, payload: bytes) -> None:
    envelope = dsse.sign(payload, DESIRED_TYPE, world.director)
    with pytest.raises(RoadsteadError) as caught:
        device.verify(envelope)
    assert isinstance(caught.value, DocumentInvalidError)
    assert caught.value.sentence().isprintable()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"payloadType"', b'"payload":"","payloadType"'),
        (b'"payloadType"', rb'"paylo\u0061d":"","payloadType"'),
        (b'"signatures"', b'"x":1,"signatures"'),
        (b'{"payload"', b'\xef\xbb\xbf{"payload"'),
    ],
    ids=["payload twice", "payload twice, one escaped", "an unknown field", "a byte order mark"],
)
def test_threat_20_an_envelope_with(world: World, device: Device, old: bytes, new: bytes) -> None:
    envelope = dsse.sign(GOOD, DESIRED_TYPE, world.director)
    assert old in envelope
    with pytest.raises(DocumentInvalidError):
        device.verify(envelope.replace(old, new))


@pytest.mark.parametrize("name", ["timestamp", "2.snapshot", "2.targets"])
def test_threat_20_metadata_with_a_key_twice_is_refused_though_its_signature_holds(
    world: World, device: Device, name: str
) -> None:
    """Signatures cover the canonical form of what was parsed: another parser would take the first of the two."""
    role = name.rpartition(".")[2]
    data = current(world, role).replace(b'"signed":{', b'"signed":{"version":1,', 1)
    device.answers["metadata", name] = data
    with pytest.raises(TrustError, match=r"duplicate key|length|hash|bytes"):
        device.client.refresh()
    if role == "timestamp":
        with pytest.raises(DocumentInvalidError, match="duplicate key 'version'"):
            strict_json.loads(data, max_bytes=99_999)
