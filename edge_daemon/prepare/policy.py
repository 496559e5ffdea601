"""The host's own policy as prepare needs it: `state/policy.json`. No file: nothing beyond the default profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge_daemon.prepare.errors import PolicyFileError
from fleet_protocol.documents.release import Release
from fleet_protocol.trust.errors import PolicyError
from fleet_protocol.trust.policy import LocalPolicy, check_policy
from fleet_protocol.wire import bounds
from fleet_protocol.wire.errors import DocumentInvalidError

WORKER_ID_DEFAULT = 64998  # free in Debian's policy, and no container's id: those start at uid_base

NEVER_GRANTED = frozenset(
    {"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_BOOT", "CAP_BPF", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE"}
)
"""No policy hands these to a container: each of them would be the end of the user namespace as a border."""


class Policy(LocalPolicy):
    """Unknown fields are refused: a misspelt restriction must not be taken for none."""

    prepare_uid: Annotated[int, Field(ge=1, le=65_533)] = WORKER_ID_DEFAULT
    reserve_memory_bytes: Annotated[int, Field(ge=0, le=bounds.MAX_INTEGER)] | None = None
    """Not given to apps; None: 64 MiB, or a tenth of the host's memory where that is more."""


def read_policy(path: Path) -> Policy:
    """Raises PolicyFileError for a file that cannot be read: an unreadable policy is not the default one."""
    try:
        return Policy.parse(path.read_bytes())
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise PolicyFileError(f"cannot be read: {error.strerror}", element="policy.json") from error
    except DocumentInvalidError as error:
        raise PolicyFileError(error.reason, element="policy.json") from error


def check_release(release: Release, policy: Policy) -> None:
    """The parent's own check, whatever the worker said: it is the parent that writes what runs. Raises PolicyError."""
    for service in release.services:
        if never := sorted(NEVER_GRANTED & set(service.privileges.capabilities)):
            raise PolicyError(
                f"{service.name} wants capability {never[0]}, which no container is given",
                element=f"{release.app} {release.version}",
            )
    check_policy(release, policy)
