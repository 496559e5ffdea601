"""Row 15: somebody holds every key that the server has, and tries what a thief would want.

The harness signs what it likes with director, time, snapshot and timestamp, answers every request as it likes, and
knows everything that was ever released. What it must not get: anything that runs and was not released, or runs with
more than was signed or is allowed here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from trust_support import NOW, Device, World, a_release, authority, new_key, release_value, sha256
from tuf_tampering_support import current, lead_to, nothing, resigned

from fleet_protocol.documents.authorities import AUTHORITIES_PATH, Authorities
from fleet_protocol.documents.release import Release, Withdrawal
from fleet_protocol.trust.tuf_api import DelegatedRole, TargetFile
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.trust.verifier import Accepted
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError
from fleet_release.trust.release_role import add_release, withdraw

Goal = Callable[["Thief"], bytes]


class Thief:
    """The world as it is when the server falls: cam 1.0.0 (below the floor), 1.1.0 (withdrawn), 1.2.0, 1.3.0."""

    def __init__(self, world: World, device: Device) -> None:
        self.world, self.device = world, device
        signer = world.trust.release_signer("cam")
        self.targets: dict[str, str] = {}
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            self.targets[version] = world.release(version)
        gone = Withdrawal(version="1.1.0", effect="refuse")
        world.published(withdraw(world.opened(), gone, [signer], NOW))
        privileged = a_release(version="1.3.0", service={"privileges": {"capabilities": ["CAP_SYS_PTRACE"]}})
        signed = world.published(add_release(world.opened(), privileged, [signer], NOW, min_counter=2))
        self.targets["1.3.0"] = next(iter(signed.targets))
        self.key = new_key(world.folder, "thiefs-own")
        device.take(self.desired("1.2.0", generation=5))

    def value(self, version: str, **over: Any) -> dict[str, Any]:
        over.setdefault("generation", 6)
        return self.world.desired_value(("cam", version, self.targets.get(version, "a" * 64)), **over)

    def desired(self, version: str, **over: Any) -> bytes:
        return self.world.envelope(self.value(version, **over))

    def with_config(self, **config: Any) -> bytes:
        value = self.value("1.2.0")
        value["apps"][0]["config"] = config
        return self.world.envelope(value)

    def with_app(self, **over: Any) -> bytes:
        value = self.value("1.2.0")
        value["apps"][0] |= over
        return self.world.envelope(value)

    def with_settings(self, **settings: Any) -> bytes:
        return self.desired("1.2.0", settings=settings)

    def own_release(self, **over: Any) -> tuple[bytes, str]:
        data = Release.from_value(release_value(version="6.6.6", counter=99, **over)).to_bytes()
        return data, sha256(data)

    def role_with(self, data: bytes, *signers: Any, path: str = "releases/cam/6.6.6.json") -> bytes:
        def edit(signed: Any) -> None:
            signed.version += 1
            target = TargetFile.from_data(path, data, ["sha256"])
            target.unrecognized_fields["custom"] = {"release_counter": 99}
            signed.targets[path] = target
            signed.unrecognized_fields["roadstead"] = {"min_counter": 0, "last_counter": 99, "withdrawals": []}

        return resigned(current(self.world, "release/cam"), edit, *signers)


def new_code(t: Thief) -> bytes:
    return t.with_app(release="6.6.6", sha256="d" * 64)


def new_code_under_an_old_name(t: Thief) -> bytes:
    data, digest = t.own_release()
    t.device.answers["target", f"releases/cam/{digest}.1.2.0.json"] = data
    return t.with_app(sha256=digest)


def other_bytes_at_the_signed_path(t: Thief) -> bytes:
    t.device.answers["target", f"releases/cam/{t.targets['1.3.0']}.1.3.0.json"] = t.own_release()[0]
    return t.desired("1.3.0")


def role_signed_by_on_line_keys(t: Thief) -> bytes:
    data, digest = t.own_release()
    bad = t.role_with(data, t.world.snapshot, t.world.timestamp, t.world.director, t.key)
    lead_to(t.world, t.device, nothing, files={"release/cam": bad})
    t.device.answers["target", f"releases/cam/{digest}.6.6.6.json"] = data
    return t.with_app(release="6.6.6", sha256=digest)


def role_without_signature(t: Thief) -> bytes:
    data, digest = t.own_release()
    lead_to(t.world, t.device, nothing, files={"release/cam": t.role_with(data)})
    return t.with_app(release="6.6.6", sha256=digest)


def delegation_of_the_thiefs_own(t: Thief) -> bytes:
    public = TufSigner(t.key).public_key

    def edit(signed: Any) -> None:
        signed.version += 1
        signed.delegations.keys[public.keyid] = public
        signed.delegations.roles["release/evil"] = DelegatedRole(
            "release/evil", [public.keyid], 1, terminating=True, paths=["releases/evil/*"]
        )

    bad = resigned(current(t.world, "targets"), edit, t.world.snapshot, t.key)
    lead_to(t.world, t.device, nothing, files={"targets": bad})
    return t.with_app(app="evil")


def authorities_of_the_thiefs_own(t: Thief) -> bytes:
    data = Authorities(director=(authority(t.key),)).to_bytes()

    def edit(signed: Any) -> None:
        signed.version += 1
        signed.targets[AUTHORITIES_PATH] = TargetFile.from_data(AUTHORITIES_PATH, data, ["sha256"])

    bad = resigned(current(t.world, "targets"), edit, t.world.director)
    lead_to(t.world, t.device, nothing, files={"targets": bad})
    t.device.answers["target", f"roadstead/{sha256(data)}.authorities.json"] = data
    return t.world.envelope(t.value("1.2.0"), t.key)


def root_of_the_thiefs_own(t: Thief) -> bytes:
    public = TufSigner(t.key).public_key

    def edit(signed: Any) -> None:
        signed.version = 2
        signed.keys[public.keyid] = public
        for role in ("root", "targets"):
            signed.roles[role].keyids = [public.keyid]

    bad = resigned(t.world.root, edit, t.key, t.world.snapshot, t.world.timestamp, t.world.director)
    t.device.answers["metadata", "2.root"] = bad
    return t.desired("1.2.0")


def older_role_without_the_withdrawal(t: Thief) -> bytes:
    old = t.world.repository.load("3.release/cam")
    assert old is not None
    lead_to(t.world, t.device, nothing, files={"release/cam": old})
    return t.desired("1.1.0")


GOALS: dict[str, tuple[Goal, str]] = {
    "run new code": (new_code, "the role release/cam does not sign 6.6.6"),
    "run new code under a released name": (new_code_under_an_old_name, "the desired state names content"),
    "serve other bytes for a signed release": (
        other_bytes_at_the_signed_path,
        "the bytes are not those that were signed for",
    ),
    "sign the app's role with on-line keys": (role_signed_by_on_line_keys, "release/cam was signed by 0/1 keys"),
    "serve the app's role unsigned": (role_without_signature, "release/cam was signed by 0/1 keys"),
    "delegate to a key of its own": (delegation_of_the_thiefs_own, "targets was signed by 0/1 keys"),
    "name another director": (authorities_of_the_thiefs_own, "targets was signed by 0/1 keys"),
    "replace root": (root_of_the_thiefs_own, "root was signed by 0/1 keys"),
    "run a release below the security floor": (
        lambda t: t.desired("1.0.0"),
        "release_counter 1 is below min_counter 2",
    ),
    "run a withdrawn release": (lambda t: t.desired("1.1.0"), "cam 1.1.0 was withdrawn"),
    "hide a withdrawal behind an older role": (older_role_without_the_withdrawal, "release/cam.json version"),
    "go back to an older generation": (
        lambda t: t.desired("1.3.0", generation=4),
        "generation 4 is older than the accepted generation 5",
    ),
    "play another device's document": (
        lambda t: t.desired("1.2.0", device_id="pump-4"),
        "it is for device pump-4, and this is pump-3",
    ),
    "set LD_PRELOAD": (lambda t: t.with_config(LD_PRELOAD="/data/x.so"), "cam 1.2.0 does not declare LD_PRELOAD"),
    "set an undeclared variable": (lambda t: t.with_config(DEBUG="1"), "cam 1.2.0 does not declare DEBUG"),
    "put a command into a declared integer": (
        lambda t: t.with_config(BITRATE="8; reboot"),
        "BITRATE is not an integer",
    ),
    "change the command": (
        lambda t: t.with_app(command=["/bin/sh"]),
        "$.apps.0.command: Extra inputs are not permitted",
    ),
    "mount a path of the host": (
        lambda t: t.with_app(volumes=[{"source": "/", "target": "/host"}]),
        "$.apps.0.volumes: Extra inputs are not permitted",
    ),
    "raise a limit": (
        lambda t: t.with_app(limits={"memory_bytes": 2**40}),
        "$.apps.0.limits: Extra inputs are not permitted",
    ),
    "grant a capability": (
        lambda t: t.with_app(privileges={"capabilities": ["CAP_SYS_ADMIN"]}),
        "$.apps.0.privileges: Extra inputs are not permitted",
    ),
    "use a signed privilege that this host forbids": (
        lambda t: t.desired("1.3.0"),
        "web wants capability CAP_SYS_PTRACE, which this host's own policy does not allow",
    ),
    "join the host's network": (
        lambda t: t.with_app(network="host"),
        "$.apps.0.network: Extra inputs are not permitted",
    ),
    "name another broker in settings": (
        lambda t: t.with_settings(broker="evil:8883"),
        "$.settings.broker: Extra inputs are not permitted",
    ),
    "name another trust anchor in settings": (
        lambda t: t.with_settings(root="..."),
        "$.settings.root: Extra inputs are not permitted",
    ),
    "smuggle in a sidecar": (
        lambda t: t.with_app(services=[{"name": "miner"}]),
        "$.apps.0.services: Extra inputs are not permitted",
    ),
    "run the same app twice": (
        lambda t: t.world.envelope({**t.value("1.2.0"), "apps": t.value("1.2.0")["apps"] * 2}),
        "an app is listed twice",
    ),
    "pass a time statement off as a desired state": (
        lambda t: t.world.time_statement("n" * 32, NOW),
        "wants 'application/vnd.roadstead.desired.v1+json'",
    ),
}


@pytest.mark.parametrize(("goal", "words"), GOALS.values(), ids=GOALS)
def test_threat_15_the_thief_does_not(world: World, device: Device, goal: Goal, words: str) -> None:
    thief = Thief(world, device)
    envelope = goal(thief)
    with pytest.raises(RoadsteadError) as caught:
        device.verify(envelope)
    assert words in caught.value.sentence()
    assert device.store is not None
    assert set(device.store.accepted_apps().items()) == {("cam", ("1.2.0", thief.targets["1.2.0"]))}
    accepted = device.store.accepted()
    assert accepted is not None
    assert accepted.generation == 5


def test_threat_15_there_are_at_least_twenty_goals() -> None:
    assert len(GOALS) >= 20


def test_threat_15_the_thief_may_stop_apps_and_choose_among_released_ones(world: World, device: Device) -> None:
    """What the design says it can do, and no more."""
    thief = Thief(world, device)
    assert isinstance(device.verify(world.desired(generation=6)), Accepted)
    assert isinstance(device.verify(thief.desired("1.2.0", generation=7)), Accepted)


def test_threat_15_a_withheld_withdrawal_freezes_until_the_role_expires_and_no_longer(
    world: World, device: Device
) -> None:
    thief = Thief(world, device)
    expires = NOW + timedelta(days=30)
    withheld = world.repository.current("release/cam")
    assert withheld is not None
    for when, works in ((expires - timedelta(seconds=1), True), (expires, False)):
        world.time.now = device.time.now = when
        world.repository.refresh_timestamp(when)
        device.boot()
        envelope = thief.desired("1.2.0", generation=9, expires=2**40)
        if works:
            assert isinstance(device.verifier.verify(envelope), Accepted)
        else:
            with pytest.raises(RoadsteadError, match="release/cam is expired"):
                device.verifier.verify(envelope)


def test_threat_15_the_thief_cannot_turn_the_clock_back_to_lengthen_it(world: World, device: Device) -> None:
    nonce = device.clock.new_nonce()
    keys = (world.time_key.public,)
    device.clock.accept(world.time_statement(nonce, NOW + timedelta(days=29)), nonce, keys)
    asked = device.clock.new_nonce()
    with pytest.raises(RoadsteadError, match="which was signed earlier"):
        device.clock.accept(world.time_statement(asked, NOW), asked, keys)


def test_threat_15_duplicate_keys_in_a_signed_document_do_not_pass(world: World, device: Device) -> None:
    from fleet_protocol.documents.desired import DESIRED_TYPE
    from fleet_protocol.trust import dsse

    payload = strict_json.dumps(world.desired_value()).replace(b'"generation":1', b'"generation":1,"generation":2')
    with pytest.raises(RoadsteadError, match="duplicate key"):
        device.verify(dsse.sign(payload, DESIRED_TYPE, world.director))
