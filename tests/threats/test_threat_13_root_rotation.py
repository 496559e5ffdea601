"""Row 13: every way to shorten the path from one root to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from trust_support import NOW, Device, World, new_key
from tuf_tampering_support import resigned

from fleet_protocol.trust.tuf_keys import TufSigner
from fleet_protocol.wire.errors import TrustError


@dataclass(frozen=True)
class Root:
    """A root to be offered: who may sign the next, how many of them must, and who signed this one."""

    keys: str
    signed: str
    threshold: int = 1
    version: int | None = None


@dataclass(frozen=True)
class Case:
    """Roots offered from version 2 on, and the version that a device ends at."""

    offered: list[Root] = field(default_factory=list)
    ends: int = 1
    refused: bool = False


CASES: dict[str, Case] = {
    "none offered": Case(),
    "the same key": Case([Root("o", "o")], 2),
    "a new key signed by old and new": Case([Root("a", "oa")], 2),
    "a new key signed by the new alone": Case([Root("a", "a")], refused=True),
    "a new key signed by the old alone": Case([Root("a", "o")], refused=True),
    "a new key signed by nobody": Case([Root("a", "")], refused=True),
    "two steps": Case([Root("a", "oa"), Root("b", "ab")], 3),
    "the second step signed by the first key": Case([Root("a", "oa"), Root("b", "ob")], 2, refused=True),
    "back to an earlier key": Case([Root("a", "oa"), Root("o", "ao")], 3),
    "a higher threshold, met": Case([Root("oab", "oab", 3)], 2),
    "a higher threshold, missed by one": Case([Root("oab", "oa", 3)], refused=True),
    "a threshold of the old root, missed": Case([Root("oa", "oa", 2), Root("b", "ob")], 2, refused=True),
    "a threshold of the old root, met": Case([Root("oa", "oa", 2), Root("b", "oab")], 3),
    "a version left out": Case([Root("a", "oa", version=3)], refused=True),
    "the same version again": Case([Root("a", "oa", version=1)], refused=True),
    "a stranger's signature beside": Case([Root("a", "oax")], 2),
    "only strangers' signatures": Case([Root("a", "xb")], refused=True),
}


def offered(world: World, folder: Path, root: Root, number: int) -> bytes:
    signers = {name: new_key(folder, f"root-{name}") for name in "abx"} | {"o": world.trust.signer("root")}

    def edit(signed: Any) -> None:
        signed.version = root.version or number
        public = [TufSigner(signers[n]).public_key for n in root.keys]
        signed.keys.update({k.keyid: k for k in public})
        signed.roles["root"].keyids = [k.keyid for k in public]
        signed.roles["root"].threshold = root.threshold

    return resigned(world.root, edit, *(signers[n] for n in root.signed))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_threat_13_a_root_follows_only_by_both_thresholds_and_one_by_one(
    world: World, device: Device, case: Case
) -> None:
    for number, root in enumerate(case.offered, 2):
        device.answers["metadata", f"{number}.root"] = offered(world, world.folder, root, number)
    device.boot()
    if case.refused:
        with pytest.raises(TrustError, match=r"keys|Expected root version"):
            device.client.refresh()
        assert device.store is not None
        assert device.store.roots()[-1][0] == case.ends
        return
    device.client.refresh()
    assert device.client.version("root") == case.ends
    device.answers.clear()
    device.boot()
    device.client.refresh()
    assert device.client.version("root") == case.ends, "a root that was seen stays, also when it is withheld"


def test_threat_13_the_server_takes_no_shortcut_either(world: World) -> None:
    for case in CASES.values():
        root = case.offered[0] if case.offered else None
        if root and case.ends == 1:
            with pytest.raises(TrustError):
                world.repository.put_role("root", offered(world, world.folder, root, 2), 1, NOW)
    assert world.repository.version("root") == 1
