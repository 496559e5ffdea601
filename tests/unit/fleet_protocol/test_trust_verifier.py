"""What the one verifier says to each document, word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from trust_support import MIB, NOW, Device, World, a_release, new_key, sha256

from fleet_protocol.documents.release import Withdrawal
from fleet_protocol.trust import dsse
from fleet_protocol.trust.policy import LocalPolicy
from fleet_protocol.trust.verifier import Accepted, Current, Stop
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError
from fleet_release.trust.release_role import add_release, withdraw

Value = dict[str, Any]
Ready = tuple[World, Device, str]


@pytest.fixture
def ready(world: World, device: Device) -> Ready:
    """A device that accepted generation 5 with cam 1.9.0."""
    target = world.release()
    device.take(world.desired(("cam", "1.9.0", target), generation=5))
    return world, device, target


def refusal(device: Device, envelope: bytes) -> RoadsteadError:
    with pytest.raises(RoadsteadError) as caught:
        device.verify(envelope)
    return caught.value


def test_a_good_document_is_accepted_with_its_release_and_values(world: World, device: Device) -> None:
    target = world.release()
    value = world.desired_value(("cam", "1.9.0", target))
    value["apps"][0]["config"] = {"BITRATE": "12"}
    accepted = device.verify(world.envelope(value))
    assert isinstance(accepted, Accepted)
    assert accepted.sha256 == sha256(strict_json.dumps(value))
    [app] = accepted.apps
    assert (app.app, app.release.version, app.sha256, app.values) == ("cam", "1.9.0", target, {"BITRATE": b"12"})


def test_a_default_fills_in_for_a_value_that_nobody_set(world: World, device: Device) -> None:
    accepted = device.verify(world.desired(("cam", "1.9.0", world.release())))
    assert accepted.apps[0].values == {"BITRATE": b"8"}


def test_the_accepted_and_sealed_document_is_current(ready: Ready) -> None:
    world, device, target = ready
    value = world.desired_value(("cam", "1.9.0", target), generation=5)
    assert device.verify(world.envelope(value)) == Current(5, sha256(strict_json.dumps(value)))


def test_it_is_current_also_after_it_has_expired(ready: Ready) -> None:
    world, device, target = ready
    envelope = world.desired(("cam", "1.9.0", target), generation=5)
    for clock in (world.time, device.time):
        clock.move(days=8)
    world.repository.refresh_timestamp(world.time.now)
    assert isinstance(device.verify(envelope), Current)


def test_an_older_release_at_the_floor_may_be_named_by_a_new_generation(ready: Ready) -> None:
    world, device, target = ready
    device.take(world.desired(("cam", "2.0.0", world.release("2.0.0")), generation=6))
    back = device.verify(world.desired(("cam", "1.9.0", target), generation=7))
    assert isinstance(back, Accepted)


Change = Callable[[Value], None]


def change(**over: Any) -> Change:
    return lambda value: value.update(over)


def change_app(**over: Any) -> Change:
    return lambda value: value["apps"][0].update(over)


REFUSALS: dict[str, tuple[Change, str]] = {
    "another device": (
        change(device_id="pump-4"),
        "While verifying, verifier failed for desired state: it is for device pump-4, and this is pump-3",
    ),
    "an older generation": (
        change(generation=4),
        "While verifying, verifier failed for desired state: generation 4 is older than the accepted generation 5",
    ),
    "an equal generation with other content": (
        change(generation=5, expires=int(NOW.timestamp()) + 999),
        (
            "While verifying, verifier failed for desired state: "
            "ALARM: generation 5 was accepted before with other content"
        ),
    ),
    "an expired document": (
        change(expires=int(NOW.timestamp())),
        (
            f"While verifying, verifier failed for desired state: "
            f"expired at second {int(NOW.timestamp())}, the time is taken to be {int(NOW.timestamp())}"
        ),
    ),
    "a release that nobody signed": (
        change_app(release="6.6.6"),
        "While verifying, verifier failed for cam 6.6.6: the role release/cam does not sign 6.6.6",
    ),
    "an app without a role": (
        change_app(app="miner"),
        "While verifying, verifier failed for miner: the trust root names no one who may sign releases of miner",
    ),
    "an undeclared configuration key": (
        change_app(config={"LD_PRELOAD": "/tmp/x.so"}),
        "While verifying, verifier failed for cam 1.9.0: cam 1.9.0 does not declare LD_PRELOAD",
    ),
    "a value of another type": (
        change_app(config={"BITRATE": "fast"}),
        "While verifying, verifier failed for cam 1.9.0: BITRATE is not an integer within 2^53",
    ),
}


@pytest.mark.parametrize(("edit", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses_with_one_clear_sentence(ready: Ready, edit: Change, sentence: str) -> None:
    world, device, target = ready
    value = world.desired_value(("cam", "1.9.0", target), generation=6)
    edit(value)
    assert refusal(device, world.envelope(value)).sentence() == sentence
    assert device.store is not None
    accepted = device.store.accepted()
    assert accepted is not None
    assert accepted.generation == 5


def test_it_refuses_content_other_than_the_signed(ready: Ready) -> None:
    world, device, target = ready
    said = refusal(device, world.desired(("cam", "1.9.0", "b" * 64), generation=6))
    assert said.reason == f"the desired state names content bbbbbbbbbbbb, release/cam signs {target[:12]}"


def test_a_document_that_no_trusted_key_signed_is_refused(ready: Ready) -> None:
    world, device, target = ready
    stranger = new_key(world.folder, "stranger")
    envelope = world.envelope(world.desired_value(("cam", "1.9.0", target), generation=6), stranger)
    assert refusal(device, envelope).reason == "no trusted key signed it"


def test_a_document_of_another_type_is_refused(ready: Ready) -> None:
    world, device, target = ready
    value = world.desired_value(("cam", "1.9.0", target), generation=6)
    said = refusal(device, world.envelope(value, kind="application/vnd.roadstead.time.v1+json"))
    assert said.reason == (
        "is of type 'application/vnd.roadstead.time.v1+json', wants 'application/vnd.roadstead.desired.v1+json'"
    )


def test_a_release_below_the_security_floor_is_refused_with_both_numbers(ready: Ready) -> None:
    world, device, target = ready
    signer = world.trust.release_signer("cam")
    world.published(add_release(world.opened(), a_release(version="2.0.0"), [signer], NOW, min_counter=2))
    said = refusal(device, world.desired(("cam", "1.9.0", target), generation=6))
    assert said.sentence() == (
        "While verifying, verifier failed for cam 1.9.0: release_counter 1 is below min_counter 2"
    )


def test_the_floor_holds_also_when_a_later_role_would_lower_it(ready: Ready) -> None:
    _, device, _ = ready
    assert device.store is not None
    epoch = device.client.app_role("cam").epoch
    device.store.raise_floor("cam", epoch, 9)
    device.store.raise_floor("cam", epoch, 3)
    assert device.store.floor("cam", epoch) == 9


def test_new_keys_of_the_role_begin_a_new_floor(ready: Ready) -> None:
    world, device, _ = ready
    assert device.store is not None
    epoch = device.client.app_role("cam").epoch
    device.store.raise_floor("cam", epoch, 2**53)  # what a thief of the role's key could do
    fresh = new_key(world.folder, "fresh")
    world.trust.replace_release_keys("cam", NOW, (fresh.public,))
    world.trust.upload(world)
    signed = add_release(world.opened(begin_anew=True), a_release(version="2.0.0"), [fresh], NOW)
    world.published(signed)
    accepted = device.verify(world.desired(("cam", "2.0.0", next(iter(signed.targets))), generation=6))
    assert isinstance(accepted, Accepted)


def test_a_withdrawn_release_is_refused_with_its_reason(ready: Ready) -> None:
    world, device, target = ready
    signer = world.trust.release_signer("cam")
    gone = Withdrawal(version="1.9.0", effect="refuse", reason="leaks frames")
    world.published(withdraw(world.opened(), gone, [signer], NOW))
    said = refusal(device, world.desired(("cam", "1.9.0", target), generation=6))
    assert said.sentence() == "While verifying, verifier failed for cam 1.9.0: cam 1.9.0 was withdrawn: leaks frames"
    assert device.verifier.stops().releases == ()


def test_a_withdrawal_that_stops_is_shown_for_what_is_accepted(ready: Ready) -> None:
    world, device, _ = ready
    signer = world.trust.release_signer("cam")
    gone = Withdrawal(version="1.9.0", effect="stop", reason="stolen key")
    world.published(withdraw(world.opened(), gone, [signer], NOW))
    device.boot()
    assert device.verifier.stops().releases == (Stop("cam", "1.9.0", "stolen key"),)


def test_a_withdrawal_that_stops_holds_also_when_its_role_has_expired(ready: Ready) -> None:
    world, device, _ = ready
    signer = world.trust.release_signer("cam")
    world.published(withdraw(world.opened(), Withdrawal(version="1.9.0", effect="stop"), [signer], NOW))
    for clock in (world.time, device.time):
        clock.move(days=40)
    world.repository.refresh_timestamp(world.time.now)
    device.boot()
    assert device.verifier.stops().releases == (Stop("cam", "1.9.0", ""),)


POLICY: dict[str, tuple[Value, str]] = {
    "a capability": ({"privileges": {"capabilities": ["CAP_NET_ADMIN"]}}, "capability CAP_NET_ADMIN"),
    "a device": ({"privileges": {"devices": ["/dev/video0"]}}, "device /dev/video0"),
    "the host's network": ({"privileges": {"network": "host"}}, "the host's network"),
    "a writable root": ({"privileges": {"writable_root": True}}, "a writable root"),
    "too much memory": (
        {"limits": {"memory_bytes": 200 * MIB, "cpu_millis": 500, "pids": 32}},
        f"{200 * MIB} bytes of memory (at most {128 * MIB})",
    ),
    "a maximum of too much memory": (
        {"maximum": {"memory_bytes": 200 * MIB, "cpu_millis": 500, "pids": 32}},
        f"{200 * MIB} bytes of memory (at most {128 * MIB})",
    ),
}


@pytest.mark.parametrize(("service", "what"), POLICY.values(), ids=POLICY)
def test_more_than_the_hosts_own_policy_is_refused(world: World, device: Device, service: Value, what: str) -> None:
    device.policy = LocalPolicy(memory_bytes_max=128 * MIB)
    target = world.release(service=service)
    said = refusal(device, world.desired(("cam", "1.9.0", target)))
    assert said.sentence() == (
        f"While verifying, verifier failed for cam 1.9.0: web wants {what}, which this host's own policy does not allow"
    )


def test_what_the_policy_allows_is_accepted(world: World, device: Device) -> None:
    device.policy = LocalPolicy(
        capabilities=("CAP_NET_ADMIN",), devices=("/dev/video0",), network=("app", "host"), writable_root=True
    )
    privileges = {
        "capabilities": ["CAP_NET_ADMIN"],
        "devices": ["/dev/video0"],
        "network": "host",
        "writable_root": True,
    }
    target = world.release(service={"privileges": privileges})
    assert isinstance(device.verify(world.desired(("cam", "1.9.0", target))), Accepted)


def test_a_large_value_is_fetched_by_its_hash_and_checked(world: World, device: Device) -> None:
    target = world.release(
        config={"RULES": {"service": "web", "type": "text", "file": "/etc/rules", "max_bytes": 4096}}
    )
    content = b"allow all\n" * 300
    value = world.desired_value(("cam", "1.9.0", target))
    value["apps"][0]["config"] = {"RULES": {"sha256": sha256(content), "size": len(content)}}
    device.answers["value", sha256(content)] = content
    assert device.verify(world.envelope(value)).apps[0].values == {"RULES": content}
    device.answers["value", sha256(content)] = content.replace(b"a", b"b")
    assert refusal(device, world.envelope(value)).reason == "the bytes are not those that were signed for"


def test_a_withheld_release_document_is_refused_by_its_hash(ready: Ready) -> None:
    world, device, _ = ready
    target = world.release("2.0.0")
    real = world.repository.target(f"releases/cam/{target}.2.0.0.json")
    assert real is not None
    device.answers["target", f"releases/cam/{target}.2.0.0.json"] = real.replace(b'"pids":32', b'"pids":99')
    said = refusal(device, world.desired(("cam", "2.0.0", target), generation=6))
    assert said.reason == "the bytes are not those that were signed for"


def test_a_crash_between_accept_and_sealed_lets_the_same_document_finish(world: World, device: Device) -> None:
    envelope = world.desired(("cam", "1.9.0", world.release()), generation=3)
    accepted = device.verify(envelope)
    device.verifier.accept(accepted)
    again = device.verify(envelope)  # a new process after kill -9
    assert again == accepted
    device.verifier.accept(again)
    device.verifier.sealed(again)
    device.verifier.sealed(again)
    assert device.verify(envelope) == Current(3, accepted.sha256)


def test_after_accept_nothing_older_and_nothing_else_of_that_generation_is_taken(world: World, device: Device) -> None:
    target = world.release()
    accepted = device.verify(world.desired(("cam", "1.9.0", target), generation=3))
    device.verifier.accept(accepted)
    assert "older than the accepted generation 3" in str(refusal(device, world.desired(generation=2)))
    assert "ALARM: generation 3" in str(refusal(device, world.desired(generation=3)))


def test_a_document_of_no_apps_is_a_document(world: World, device: Device) -> None:
    assert device.take(world.desired(generation=1)).apps == ()


def test_the_verified_bytes_are_the_only_ones_that_leave(world: World) -> None:
    payload = strict_json.dumps(world.desired_value())
    envelope = dsse.sign(payload, "t", world.director)
    assert dsse.verify(envelope, "t", (world.director.public,), max_bytes=99_999) == payload
