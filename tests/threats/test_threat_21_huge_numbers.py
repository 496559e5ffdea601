"""Row 21: numbers and texts that would break a database or a loop behind the parser."""

from __future__ import annotations

import random
from typing import Any

import pytest
from trust_support import DIGEST, Device, World, release_value

from fleet_protocol.documents.base import Document
from fleet_protocol.documents.device import Ack, Events, Presence, Reported
from fleet_protocol.documents.release import Release
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, RoadsteadError

HUGE: list[Any] = [
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    -1,
    -(2**63),
    1e300,
    "9" * 5000,
    "x" * 100_000,
    None,
    [],
    {},
]


@pytest.mark.parametrize("field", ["generation", "issued_at", "expires", "device_id", "apps", "settings"])
@pytest.mark.parametrize("value", HUGE, ids=[repr(v)[:20] for v in HUGE])
def test_threat_21_a_signed_document_never_does_more_than_be_refused(
    world: World, device: Device, field: str, value: Any
) -> None:
    document = world.desired_value(generation=5)
    document[field] = value
    try:
        said = device.verify(world.envelope(document))
    except RoadsteadError as error:
        assert error.sentence().isprintable()  # noqa: PT017 - either outcome is one
        return
    assert (field, value) in (("apps", []), ("settings", {}))
    assert said.generation == 5


def test_threat_21_the_highest_generation_is_stored_and_read_back(world: World, device: Device) -> None:
    device.take(world.desired(generation=2**53))
    assert device.store is not None
    accepted = device.store.accepted()
    assert accepted is not None
    assert accepted.generation == 2**53


UNSIGNED: dict[str, tuple[type[Document], dict[str, Any]]] = {
    "reported": (Reported, {"schema": "roadstead/reported/v1", "device_id": "a", "boot_id": "b", "at": 1}),
    "ack": (Ack, {"spool": "0" * 16, "through": 1}),
    "presence": (Presence, {"online": True, "generation": 1}),
    "events": (
        Events,
        {
            "schema": "roadstead/events/v1",
            "device_id": "a",
            "spool": "0" * 16,
            "events": [{"seq": 1, "at": 1, "kind": "x", "text": "y"}],
        },
    ),
}


@pytest.mark.parametrize(("model", "good"), UNSIGNED.values(), ids=UNSIGNED)
def test_threat_21_what_devices_say_is_bounded_as_well(model: type[Document], good: dict[str, Any]) -> None:
    model.parse(strict_json.dumps(good))
    numbers = [k for k, v in good.items() if type(v) is int]
    for field in numbers:
        for value in (2**53 + 1, 2**63, 2**64, -1, 1.5, True, "1"):
            with pytest.raises(DocumentInvalidError):
                model.parse(strict_json.dumps({**good, field: value}))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in leaves(v, (*path, k))] + [path]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in leaves(v, (*path, i))] + [path]
    return [path]


def test_threat_21_a_release_with_any_part_replaced_is_refused_or_within_bounds() -> None:
    chance = random.Random(21)  # noqa: S311
    service = {
        "ports": [{"host_port": 80, "container_port": 8080}],
        "volumes": [{"name": "data", "target": "/data"}],
        "probe": {"http_port": 8080},
        "environment": {"A": "b"},
    }
    good = release_value(service=service)
    Release.from_value(good)
    assert DIGEST in strict_json.dumps(good).decode()
    paths = [p for p in leaves(good) if p]
    for _ in range(3000):
        value = strict_json.loads(strict_json.dumps(good), max_bytes=99_999)
        path, new = chance.choice(paths), chance.choice(HUGE)
        inner = value
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = new
        try:
            release = Release.from_value(value)
        except DocumentInvalidError:
            continue
        assert len(release.to_bytes()) <= Release.limit_bytes
        assert strict_json.loads(release.to_bytes(), max_bytes=Release.limit_bytes)
