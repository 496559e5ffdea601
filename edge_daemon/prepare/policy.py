"""What the host's owner allows beyond the default profile: state/policy.json. No file: nothing beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edge_daemon.prepare.errors import PolicyError
from edge_daemon.sealed import UID_BASE_DEFAULT
from fleet_protocol.documents.base import Count, Document
from fleet_protocol.documents.release import Privileges, Release, Service
from fleet_protocol.wire.errors import DocumentInvalidError

WORKER_ID_DEFAULT = 64998  # not allocated by Debian's policy, not a container's id: containers start at UID_BASE_DEFAULT
HINT = "the host's owner can allow it in policy.json of the state directory"

NEVER_GRANTED = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_BOOT", "CAP_BPF", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE"})
"""Capabilities that no policy can hand to a container: each of them is the user namespace's end as a border."""


class Policy(Document):
    """policy.json. Unknown fields are refused: a misspelt restriction must not be taken for none."""

    limit_bytes: ClassVar[int] = 64 * 1024

    capabilities: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    devices: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    network: tuple[Literal["app", "host", "none"], ...] = ("app", "none")
    writable_root: bool = False
    memory_bytes_max: Count | None = None  # of all services of one app together
    uid_base: Annotated[int, Field(ge=100_000, le=2**32 - 2 * 65536)] = UID_BASE_DEFAULT
    prepare_uid: Annotated[int, Field(ge=1, le=65_533)] = WORKER_ID_DEFAULT


def read_policy(path: Path) -> Policy:
    """The host's policy. Raises PolicyError for a file that cannot be read: an unreadable policy is not the default one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", element="policy.json") from error
    try:
        return Policy.parse(data)
    except DocumentInvalidError as error:
        raise PolicyError(error.reason, element="policy.json") from error


def check_policy(release: Release, policy: Policy) -> None:
    """Raises PolicyError naming the first thing that this host does not allow the release."""
    for service in release.services:
        for problem in _beyond(service.privileges, policy):
            raise PolicyError(problem, element=_name(release, service), hint=HINT)
    wanted = sum(s.limits.memory_bytes for s in release.services)
    if policy.memory_bytes_max is not None and wanted > policy.memory_bytes_max:
        raise PolicyError(
            f"its services may use {wanted} bytes of memory together, this host allows {policy.memory_bytes_max}",
            element=f"{release.app} {release.version}",
            hint=HINT,
        )


def _beyond(wants: Privileges, policy: Policy) -> list[str]:
    out = [f"{c} is never given to a container" for c in wants.capabilities if c in NEVER_GRANTED]
    out += [f"wants {c}, which this host does not allow" for c in wants.capabilities if c not in policy.capabilities]
    out += [f"wants the device {d}, which this host does not allow" for d in wants.devices if d not in policy.devices]
    # A namespace without a network is stricter than the default, so it needs nobody's leave.
    if wants.network != "none" and wants.network not in policy.network:
        out.append(f"wants the network '{wants.network}', which this host does not allow")
    if wants.writable_root and not policy.writable_root:
        out.append("wants a writable root file system, which this host does not allow")
    return out


def _name(release: Release, service: Service) -> str:
    return f"{release.app}.{service.name}"
