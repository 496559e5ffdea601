"""The form that our TUF metadata has, beyond what TUF itself asks for. Pure: bytes in, parsed metadata out.

Client, server and release tool all read metadata through `parse_role`, so that none of them believes what another
would refuse. The layout is deliberately narrow: root, targets, snapshot, timestamp, and from targets one terminating
delegation `release/<app>` for `releases/<app>/*` each. No delegation has two parents or children of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from tuf.api.exceptions import RepositoryError

from fleet_protocol.documents.authorities import AUTHORITIES_PATH
from fleet_protocol.documents.release import ROLE_EXTRA_FIELD, RoleExtra, role_name, target_path
from fleet_protocol.trust.errors import MetadataError
from fleet_protocol.trust.tuf_api import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from fleet_protocol.trust.tuf_keys import check_tuf_key
from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import DocumentInvalidError

MAX_VERSION_STEP = 1_000_000
"""A role's version never jumps further: a thief of an on-line key cannot use up the numbers (fast-forward)."""

MAX_BYTES = {"root": 64 * 1024, "timestamp": 16 * 1024, "snapshot": bounds.MAX_TUF_METADATA_BYTES}
RELEASE_PREFIX = "release/"
_KINDS: dict[str, type[Signed]] = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}


def max_bytes(role: str) -> int:
    """The most bytes that metadata of `role` may have."""
    return MAX_BYTES.get(role, bounds.MAX_TUF_METADATA_BYTES)


def is_role(role: str) -> bool:
    """Whether `role` is one of the four or the delegation of an app."""
    return role in _KINDS or bounds.matches(role_name(bounds.NAME_PATTERN), role)


def app_of(role: str) -> str:
    """`release/cam` -> `cam`."""
    return role.removeprefix(RELEASE_PREFIX)


@dataclass(frozen=True)
class ReleaseTarget:
    """One line of a `release/<app>` role."""

    version: str
    sha256: str
    length: int
    counter: int


def parse_role(role: str, data: bytes) -> Metadata[Any]:
    """Metadata of `role`, in our form; its signatures are not looked at here. Raises MetadataError."""
    if not is_role(role):
        raise MetadataError("no such role", element=role)
    try:
        value = strict_json.loads(data, max_bytes=max_bytes(role), what=f"metadata of {role}")
        if not isinstance(value, dict) or set(value) != {"signed", "signatures"}:
            raise MetadataError("wants exactly signed and signatures", element=role)
        parsed: Metadata[Any] = Metadata.from_bytes(data)
    except DocumentInvalidError as error:
        raise MetadataError(error.reason, element=role) from error
    except (RepositoryError, RecursionError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise MetadataError(f"is not metadata: {error}", element=role) from error
    signed = parsed.signed
    if not isinstance(signed, _KINDS.get(role, Targets)):
        raise MetadataError(f"is of type {signed.type}", element=role)
    _check_version(role, signed.version)
    if isinstance(signed, Root):
        _check_root(signed)
    elif isinstance(signed, Targets):
        _check_targets(signed) if role == "targets" else _check_release_role(role, signed)
    elif isinstance(signed, Snapshot):
        _check_snapshot(signed)
    elif isinstance(signed, Timestamp):
        _check_meta("snapshot.json", signed.snapshot_meta)
    return parsed


def check_step(role: str, known: int, new: int) -> None:
    """Refuse a version that lies too far above the one last seen (0: none)."""
    if new - known > MAX_VERSION_STEP:
        raise MetadataError(
            f"version jumps from {known} to {new}, at most {MAX_VERSION_STEP} are allowed", element=role
        )


def role_extra(role: str, signed: Targets) -> RoleExtra:
    """Security floor and withdrawals, which stand in the signed part of an app's role."""
    try:
        return RoleExtra.from_value(signed.unrecognized_fields.get(ROLE_EXTRA_FIELD, {}))
    except DocumentInvalidError as error:
        raise MetadataError(error.reason, element=role) from error


def live_releases(role: str, signed: Targets) -> dict[str, ReleaseTarget]:
    """Version -> line, for each release that an app's role lists."""
    prefix, suffix = target_path(app_of(role), "\0").split("\0")
    out: dict[str, ReleaseTarget] = {}
    for path, target in signed.targets.items():
        version = path[len(prefix) : len(path) - len(suffix)]
        if path != f"{prefix}{version}{suffix}" or not bounds.matches(bounds.VERSION_PATTERN, version):
            raise MetadataError(f"lists {path[:100]!r}, outside of {prefix}*", element=role)
        _check_target(role, path, target, bounds.MAX_RELEASE_BYTES)
        custom = target.custom
        counter = custom.get("release_counter") if isinstance(custom, dict) and len(custom) == 1 else None
        if type(counter) is not int or not 1 <= counter <= bounds.MAX_INTEGER:
            raise MetadataError(f"lists {path} without its release_counter", element=role)
        out[version] = ReleaseTarget(version, target.hashes["sha256"], target.length, counter)
    return out


def release_delegation(app: str) -> dict[str, object]:
    """What the delegation of `app` says beside keys and threshold."""
    return {"name": role_name(app), "terminating": True, "paths": [f"releases/{app}/*"]}


def _check_version(role: str, version: object) -> None:
    if type(version) is not int or not 1 <= version <= bounds.MAX_INTEGER:
        raise MetadataError("version is not between 1 and 2^53", element=role)


def _check_root(root: Root) -> None:
    if root.consistent_snapshot is not True:
        raise MetadataError("consistent_snapshot must be true", element="root")
    for key_id, key in root.keys.items():
        check_tuf_key(key_id, key)
    for name, role in root.roles.items():
        _check_role_keys(f"root's {name}", role.keyids, role.threshold, set(root.keys))


def _check_targets(targets: Targets) -> None:
    for path, target in targets.targets.items():
        if path != AUTHORITIES_PATH:
            raise MetadataError(f"lists {path[:100]!r}; its own only target is {AUTHORITIES_PATH}", element="targets")
        _check_target("targets", path, target, 64 * 1024)
    delegations = targets.delegations
    if delegations is None:
        return
    if delegations.roles is None or delegations.unrecognized_fields:
        raise MetadataError("delegates in a way that is not ours", element="targets")
    _check_delegations(delegations)


def _check_delegations(delegations: Delegations) -> None:
    for key_id, key in delegations.keys.items():
        check_tuf_key(key_id, key)
    for name, role in (delegations.roles or {}).items():
        wanted = release_delegation(app_of(name))
        said = {"name": role.name, "terminating": role.terminating, "paths": role.paths}
        if not is_role(name) or name in _KINDS or said != wanted:
            raise MetadataError(f"delegation {name[:60]!r} is not `release/<app>` for its own paths", element="targets")
        _check_role_keys(name, role.keyids, role.threshold, set(delegations.keys))


def _check_release_role(role: str, signed: Targets) -> None:
    if signed.delegations is not None:
        raise MetadataError("delegates further, which no app's role may", element=role)
    if len(signed.targets) > bounds.MAX_LIVE_RELEASES:
        raise MetadataError(f"lists {len(signed.targets)} releases, at most {bounds.MAX_LIVE_RELEASES}", element=role)
    live_releases(role, signed)
    role_extra(role, signed)


def _check_snapshot(snapshot: Snapshot) -> None:
    for name, meta in snapshot.meta.items():
        role = name.removesuffix(".json")
        if name != f"{role}.json" or not is_role(role) or role in {"root", "snapshot", "timestamp"}:
            raise MetadataError(f"lists {name[:60]!r}", element="snapshot")
        _check_meta(name, meta)


def _check_meta(name: str, meta: MetaFile) -> None:
    """Length and hash are always there, so that nothing is fetched without knowing how much of it."""
    _check_version(name, meta.version)
    if type(meta.length) is not int or not 0 < meta.length <= bounds.MAX_TUF_METADATA_BYTES:
        raise MetadataError("is listed without a fitting length", element=name)
    _check_hashes(name, meta.hashes)


def _check_target(role: str, path: str, target: TargetFile, most: int) -> None:
    if type(target.length) is not int or not 0 < target.length <= most:
        raise MetadataError(f"{path} has {target.length} bytes, at most {most} are allowed", element=role)
    _check_hashes(role, target.hashes)


def _check_hashes(element: str, hashes: dict[str, str] | None) -> None:
    if hashes is None or set(hashes) != {"sha256"} or not bounds.matches(bounds.SHA256_PATTERN, str(hashes["sha256"])):
        raise MetadataError("wants exactly one sha256 hash for each file", element=element)


def _check_role_keys(element: str, key_ids: list[str], threshold: object, known: set[str]) -> None:
    if type(threshold) is not int or not 1 <= threshold <= len(key_ids) or not set(key_ids) <= known:
        raise MetadataError("needs a threshold between 1 and the number of its keys", element=element)


def check_successor(role: str, old: Targets, new: Targets) -> None:
    """What a later version of an app's role may not take back: counters, floor, withdrawals, contents."""
    before, after = role_extra(role, old), role_extra(role, new)
    if after.last_counter < before.last_counter:
        raise MetadataError(f"last_counter goes back from {before.last_counter} to {after.last_counter}", element=role)
    if after.min_counter < before.min_counter:
        raise MetadataError(f"min_counter goes back from {before.min_counter} to {after.min_counter}", element=role)
    gone = {w.version for w in before.withdrawals} - {w.version for w in after.withdrawals}
    if gone:
        raise MetadataError(f"takes back the withdrawal of {min(gone)}", element=role)
    was = live_releases(role, old)
    for version, line in live_releases(role, new).items():
        if version in was and was[version].sha256 != line.sha256:
            raise MetadataError(f"{version} was released with other content", element=role)
        if version not in was and line.counter <= before.last_counter:
            raise MetadataError(f"{version} has counter {line.counter}, not above {before.last_counter}", element=role)
        if line.counter > after.last_counter:
            raise MetadataError(f"{version} has counter {line.counter}, above last_counter", element=role)


def as_root(metadata: Metadata[Any]) -> Root:
    """The signed part of what `parse_role("root", ...)` returned."""
    return cast("Root", metadata.signed)


def as_targets(metadata: Metadata[Any]) -> Targets:
    """The signed part of what `parse_role` returned for targets or an app's role."""
    return cast("Targets", metadata.signed)
