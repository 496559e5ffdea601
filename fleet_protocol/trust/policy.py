"""What the owner of a host allows, whoever signs for more: `policy.json` in the state directory."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import Document
from fleet_protocol.documents.release import Release, Service
from fleet_protocol.trust.errors import PolicyError
from fleet_protocol.wire import bounds

Text64 = Annotated[str, StringConstraints(max_length=64)]


class LocalPolicy(Document):
    """The default allows nothing beyond the default profile. An app's own network, or none, is always allowed."""

    capabilities: Annotated[tuple[Text64, ...], Field(max_length=64)] = ()
    devices: Annotated[tuple[Text64, ...], Field(max_length=64)] = ()
    network: tuple[Literal["app", "host", "none"], ...] = ("app",)
    writable_root: bool = False
    memory_bytes_max: Annotated[int, Field(ge=1, le=bounds.MAX_INTEGER)] | None = None  # of each container
    uid_base: Annotated[int, Field(ge=65536, le=2**32 - 2 * 65536)] = 1_000_000


def check_policy(release: Release, policy: LocalPolicy) -> None:
    """Raises PolicyError that names the first service and thing that goes beyond `policy`."""
    for service in release.services:
        for what in _beyond(service, policy):
            raise PolicyError(
                f"{service.name} wants {what}, which this host's own policy does not allow",
                element=f"{release.app} {release.version}",
            )


def _beyond(service: Service, policy: LocalPolicy) -> list[str]:
    wanted = service.privileges
    out = [f"capability {c}" for c in wanted.capabilities if c not in policy.capabilities]
    out += [f"device {d}" for d in wanted.devices if d not in policy.devices]
    if wanted.network == "host" and "host" not in policy.network:
        out.append("the host's network")
    if wanted.writable_root and not policy.writable_root:
        out.append("a writable root")
    most = policy.memory_bytes_max
    # The signed maximum counts too: limits may later be raised up to it without a new release.
    asked = max(x.memory_bytes for x in (service.limits, service.maximum) if x is not None)
    if most is not None and asked > most:
        out.append(f"{asked} bytes of memory (at most {most})")
    return out
