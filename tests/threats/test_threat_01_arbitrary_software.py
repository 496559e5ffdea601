"""Row 1: unsigned or forged metadata and desired states."""

from __future__ import annotations

import random

import pytest
from trust_support import Device, World, new_key
from tuf_tampering_support import current, nothing, resigned

from fleet_protocol.documents.desired import DESIRED_TYPE
from fleet_protocol.trust import dsse
from fleet_protocol.trust.metadata_rules import as_root, parse_role
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError, TrustError

MUTATIONS = 6000


def mutated(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        at = chance.randrange(len(out))
        match chance.randrange(4):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at] = chance.randrange(256)
            case 2:
                del out[at : at + chance.randrange(1, 9)]
            case _:
                out[at:at] = chance.randbytes(chance.randrange(1, 5))
        out = out or bytearray(b"{")
    return bytes(out)


def test_threat_01_no_mutation_of_a_desired_state_is_believed(world: World) -> None:
    payload = strict_json.dumps(world.desired_value(("cam", "1.9.0", world.release())))
    envelope = dsse.sign(payload, DESIRED_TYPE, world.director)
    keys = (world.director.public,)
    chance = random.Random(1)  # noqa: S311
    believed = refused = 0
    for _ in range(MUTATIONS):
        try:
            got = dsse.verify(mutated(envelope, chance), DESIRED_TYPE, keys, max_bytes=99_999)
        except RoadsteadError:
            refused += 1
        else:
            # Only the unsigned hint (`keyid`) and white space may differ: what comes out is what was signed.
            believed += got != payload
    assert believed == 0
    assert refused > MUTATIONS * 0.9


def test_threat_01_no_mutation_of_the_signed_bytes_or_the_signature_is_believed(world: World) -> None:
    payload = strict_json.dumps(world.desired_value())
    message = dsse.pae(DESIRED_TYPE, payload)
    signature = world.director.sign(message)
    chance = random.Random(2)  # noqa: S311
    for _ in range(MUTATIONS):
        bad, forged = mutated(message, chance), mutated(signature, chance)
        assert bad == message or not world.director.public.verifies(signature, bad)
        assert forged == signature or not world.director.public.verifies(forged, message)


def test_threat_01_no_mutation_of_metadata_means_anything_else(world: World) -> None:
    data = current(world, "timestamp")
    root = as_root(parse_role("root", world.root))
    meant = parse_role("timestamp", data).signed
    chance = random.Random(3)  # noqa: S311
    for _ in range(MUTATIONS):
        try:
            parsed = parse_role("timestamp", mutated(data, chance))
            root.verify_delegate("timestamp", parsed.signed_bytes, parsed.signatures)
        except Exception:  # noqa: S112 - the client translates; here any refusal is one
            continue
        assert parsed.signed == meant


def test_threat_01_the_client_takes_no_mutated_metadata(world: World, device: Device) -> None:
    data = current(world, "timestamp")
    chance = random.Random(4)  # noqa: S311
    taken = 0
    for _ in range(300):
        device.answers["metadata", "timestamp"] = bad = mutated(data, chance)
        try:
            device.client.refresh()
        except RoadsteadError:
            continue
        taken += parse_role("timestamp", bad).signed != parse_role("timestamp", data).signed
    assert taken == 0


@pytest.mark.parametrize("role", ["timestamp", "targets", "release/cam"])
def test_threat_01_unsigned_metadata_is_refused(world: World, device: Device, role: str) -> None:
    world.release()
    name = role if role == "timestamp" else f"{world.repository.version(role)}.{role}"
    for signers in ((), (new_key(world.folder, "thief"),)):
        device.answers["metadata", name] = resigned(current(world, role), nothing, *signers)
        device.boot()
        with pytest.raises(TrustError):
            device.client.app_role("cam")  # refreshes first


def test_threat_01_a_desired_state_of_a_stranger_changes_nothing(world: World, device: Device) -> None:
    target = world.release()
    device.take(world.desired(("cam", "1.9.0", target), generation=3))
    stranger = new_key(world.folder, "stranger")
    for generation in (3, 4, 2**53):
        forged = world.envelope(world.desired_value(generation=generation), stranger)
        with pytest.raises(TrustError, match="no trusted key signed it"):
            device.verify(forged)
    assert device.store is not None
    accepted = device.store.accepted()
    assert accepted is not None
    assert accepted.generation == 3
