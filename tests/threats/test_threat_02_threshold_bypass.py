"""Row 2: one signer who counts as two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trust_support import NOW, World, a_release, new_key
from tuf_tampering_support import current

from fleet_protocol.trust.errors import MetadataError
from fleet_protocol.trust.metadata_rules import parse_role
from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_release.trust.ceremony import KeySet
from fleet_release.trust.release_role import SignedRole, add_release


@pytest.fixture
def one_of_two(world: World, tmp_path: Path) -> SignedRole:
    """A role that needs two signatures, signed by one."""
    second = new_key(tmp_path, "second")
    world.trust.add_app("prod", NOW, KeySet(threshold=2, others=(second.public,)))
    world.trust.upload(world)
    return add_release(world.opened("prod"), a_release("prod"), [world.trust.release_signer("prod")], NOW)


def test_threat_02_the_same_signature_twice_is_not_metadata(world: World, one_of_two: SignedRole) -> None:
    value = json.loads(one_of_two.data)
    value["signatures"] *= 2
    with pytest.raises(MetadataError, match="is not metadata"):
        parse_role("release/prod", json.dumps(value).encode())


def test_threat_02_the_same_signature_under_other_ids_counts_once(world: World, one_of_two: SignedRole) -> None:
    delegations = parse_role("targets", current(world, "targets")).signed.delegations
    value = json.loads(one_of_two.data)
    signature = value["signatures"][0]["sig"]
    others = [{"keyid": i, "sig": signature} for i in delegations.roles["release/prod"].keyids]
    others += [{"keyid": value["signatures"][0]["keyid"].upper(), "sig": signature}]
    forged = json.dumps({**value, "signatures": others}).encode()
    with pytest.raises(MetadataError, match="signed by 1/2 keys"):
        world.published(SignedRole(**{**vars(one_of_two), "data": forged}))


def test_threat_02_two_signatures_by_one_key_count_once(world: World, one_of_two: SignedRole) -> None:
    parsed = parse_role("release/prod", one_of_two.data)
    parsed.sign(TufSigner(world.trust.release_signer("prod")), append=True)
    with pytest.raises(MetadataError, match="signed by 1/2 keys"):
        world.published(SignedRole(**{**vars(one_of_two), "data": parsed.to_bytes()}))


def test_threat_02_one_key_under_two_ids_is_no_root(world: World) -> None:
    value = json.loads(world.root)
    name = value["signed"]["roles"]["root"]["keyids"][0]
    value["signed"]["keys"]["0" * 64] = value["signed"]["keys"][name]
    value["signed"]["roles"]["root"] = {"keyids": [name, "0" * 64], "threshold": 2}
    with pytest.raises(MetadataError, match="is not named by its own hash"):
        parse_role("root", json.dumps(value).encode())
