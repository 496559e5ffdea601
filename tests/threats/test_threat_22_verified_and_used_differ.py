"""Row 22: one serialisation is verified and another one is used."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest
from trust_support import World, sha256

import fleet_protocol
from fleet_protocol.documents.desired import DESIRED_TYPE
from fleet_protocol.trust import dsse
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError

PACKAGES = Path(fleet_protocol.__file__).parent.parent


def test_threat_22_verify_gives_the_signed_bytes_and_nothing_else(world: World) -> None:
    payload = b' {"generation" : 1}\n'
    envelope = dsse.sign(payload, DESIRED_TYPE, world.director)
    got = dsse.verify(envelope, DESIRED_TYPE, (world.director.public,), max_bytes=999)
    assert type(got) is bytes
    assert got == payload
    assert inspect.signature(dsse.verify).return_annotation == "bytes"


def test_threat_22_no_other_code_opens_an_envelope() -> None:
    """Nobody but `dsse` may look into one: what is used can only be what `verify` returned."""
    found = [
        f"{path.relative_to(PACKAGES)}:{node.lineno}"
        for package in (
            "fleet_protocol",
            "edge_daemon",
            "fleet_server",
            "provisioning",
            "fleet_release",
            "fleet_client",
        )
        for path in sorted((PACKAGES / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == "payloadType" and path.name != "dsse.py"
    ]
    assert found == []


def test_threat_22_the_hash_is_of_the_verified_bytes(world: World) -> None:
    spaced = json.dumps(world.desired_value(), indent=3).encode()
    device = world.device()
    accepted = device.verify(dsse.sign(spaced, DESIRED_TYPE, world.director))
    assert accepted.sha256 == sha256(spaced) != sha256(strict_json.dumps(world.desired_value()))
    device.close()


def test_threat_22_a_second_payload_beside_the_signed_one_is_refused(world: World) -> None:
    envelope = json.loads(dsse.sign(b"{}", DESIRED_TYPE, world.director))
    for extra in ({"Payload": "e30="}, {"payload ": "e30="}, {"body": "e30="}):
        data = json.dumps({**envelope, **extra}).encode()
        with pytest.raises(RoadsteadError, match="wants exactly payload, payloadType and signatures"):
            dsse.verify(data, DESIRED_TYPE, (world.director.public,), max_bytes=9999)
