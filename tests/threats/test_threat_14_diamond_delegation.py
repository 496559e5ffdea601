"""Row 14: a role with two parents, verified against one and used through the other."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from trust_support import NOW, Device, World, a_release, new_key
from tuf_tampering_support import current, lead_to, resigned

from fleet_protocol.trust.tuf_api import DelegatedRole, Delegations, Updater
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire.errors import TrustError
from fleet_release.trust.release_role import add_release


def test_threat_14_the_library_is_the_mended_one_and_has_the_hooks_that_we_override() -> None:
    assert tuple(int(n) for n in version("tuf").split(".")) >= (7, 0, 1)
    hooks = ["_load_local_metadata", "_persist_metadata", "_persist_root", "_persist_file", "_update_root_symlink"]
    assert [h for h in [*hooks, "_load_root", "_download_metadata"] if not hasattr(Updater, h)] == []


def test_threat_14_an_apps_role_with_delegations_of_its_own_is_refused(world: World, device: Device) -> None:
    world.release()
    signer = world.trust.release_signer("cam")
    key = TufSigner(signer).public_key
    child = DelegatedRole("release/db", [key.keyid], 1, terminating=True, paths=["releases/db/*"])

    def delegate(signed: Any) -> None:
        signed.version += 1
        signed.delegations = Delegations({key.keyid: key}, {"release/db": child})

    lead_to(
        world, device, lambda _: None, files={"release/cam": resigned(current(world, "release/cam"), delegate, signer)}
    )
    with pytest.raises(TrustError, match="delegates further, which no app's role may"):
        device.client.app_role("cam")


def test_threat_14_targets_that_give_one_path_to_two_roles_are_refused(world: World, device: Device) -> None:
    signer = world.trust.signer("targets")
    key = TufSigner(new_key(world.folder, "second")).public_key

    def twice(signed: Any) -> None:
        signed.version += 1
        signed.delegations.keys[key.keyid] = key
        signed.delegations.roles["release/alias"] = DelegatedRole(
            "release/alias", [key.keyid], 1, terminating=True, paths=["releases/cam/*"]
        )

    lead_to(world, device, lambda _: None, files={"targets": resigned(current(world, "targets"), twice, signer)})
    with pytest.raises(TrustError, match="is not `release/<app>` for its own paths"):
        device.client.refresh()


def test_threat_14_a_cached_role_is_verified_against_the_present_delegation(world: World, device: Device) -> None:
    """The role's bytes are known and unchanged; who may sign them has changed."""
    target = world.release()
    device.take(world.desired(("cam", "1.9.0", target)))
    fresh = new_key(world.folder, "fresh")
    world.trust.replace_release_keys("cam", NOW, (fresh.public,))
    world.trust.upload(world)
    with pytest.raises(TrustError, match="release/cam was signed by 0/1 keys"):
        device.verify(world.desired(("cam", "1.9.0", target), generation=2))
    signed = add_release(world.opened(begin_anew=True), a_release(version="2.0.0"), [fresh], NOW)
    world.published(signed)
    assert device.verify(world.desired(("cam", "2.0.0", next(iter(signed.targets))), generation=2)).generation == 2
