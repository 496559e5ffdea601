"""The names of python-tuf and securesystemslib that we use, imported once.

Both packages re-export them without saying so (PEP 484), which mypy in strict mode does not follow; hence the one
place with an exception. What they would import while they work is imported here as well: verification runs in a process
that can no longer read the interpreter's files.
"""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]  # noqa: F401

import tuf.api.serialization.json  # noqa: F401
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig  # type: ignore[attr-defined]

__all__ = [
    "DelegatedRole",
    "Delegations",
    "FetcherInterface",
    "Key",
    "MetaFile",
    "Metadata",
    "Role",
    "Root",
    "SSlibKey",
    "SecretsHandler",
    "Signature",
    "Signed",
    "Signer",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "Updater",
    "UpdaterConfig",
]
