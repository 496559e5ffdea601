"""What a host needs to judge a release is sealed with it, and what it could never ask is refused."""

from __future__ import annotations

from typing import Any

import pytest
from oci_support import busybox_image
from prepare_support import Site
from trust_support import release_value

from fleet_protocol.documents.release import Privileges, Release
from fleet_protocol.wire.errors import DocumentInvalidError
from fleet_release.trust.release_role import add_release


def test_slope_probe_and_readiness_are_sealed(host: Site) -> None:
    service = host.service(
        busybox_image(None), privileges={}, probe={"tcp_port": 80}, readiness={"exec_args": ["/bin/true"], "every_s": 2}
    )
    assert host.run(service, health={"window_s": 5, "memory_slope_percent_per_h": 10}).sealed["generation"] == 1

    revision = host.revision()
    assert revision["memory_slope_percent_per_h"] == 10
    (sealed,) = revision["services"]
    assert sealed["probe"]["tcp_port"] == 80
    assert (sealed["readiness"]["exec_args"], sealed["readiness"]["every_s"]) == (["/bin/true"], 2)


@pytest.mark.parametrize("what", ["probe", "readiness"])
def test_no_tool_and_no_server_takes_a_probe_that_nothing_could_carry(host: Site, what: str) -> None:
    """The server refuses it, and the host reads releases by the same rules."""
    with pytest.raises(DocumentInvalidError, match="over which its"):
        signed_by_hand(host, host.service(busybox_image(None), **{what: {"tcp_port": 80}}))


def signed_by_hand(host: Site, service: dict[str, Any]) -> str:
    """A target that no tool of ours would sign: with good signatures, and a service that loses its network."""

    def make(counter: int) -> Release:
        value = release_value("cam", "1.0.0", counter, config={}) | {"services": [service | {"privileges": {}}]}
        release = Release.from_value(value)
        alone = release.services[0].model_copy(update={"privileges": Privileges(network="none")})
        return release.model_copy(update={"services": (alone,)})

    world = host.world
    signed = add_release(world.opened("cam"), make, [world.trust.release_signer("cam")], world.time.now)
    return next(iter(world.published(signed).targets))
