"""Who may use which route: the one table, and what it means. Pure.

A route that is not in the table is open to nobody: the server does not start with one. Reading a table line:
`("POST", "/v1/apply"): Access("operator", Reach.SCOPED)` - operators (and admins) may; somebody whose token has a scope
may too, and the route itself keeps to the devices of that scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from starlette.routing import compile_path

from fleet_server.store.records import Role

COVERS: Mapping[Role, frozenset[Role]] = {
    "viewer": frozenset({"viewer"}),
    "installer": frozenset({"viewer", "installer"}),
    "operator": frozenset({"viewer", "installer", "operator"}),
    "releaser": frozenset({"viewer", "releaser"}),
    "approver": frozenset({"viewer", "approver"}),
    "admin": frozenset({"viewer", "installer", "operator", "releaser", "approver", "admin"}),
}
"""What each role includes. Operators do not upload releases and releasers do not change what runs; approving a
rollout is a second person's: only admins hold all of it."""


class Party(Enum):
    """Who is no operator."""

    ANYONE = "anyone"
    SLOWLY = "anyone, not too often"
    DEVICE = "a device within its session"
    EITHER = "a device, or any operator"


class Reach(Enum):
    """What a route means for a token with a scope."""

    NO_DEVICE = "nothing in it is about devices"
    SCOPED = "the route shows and changes devices of the caller's scope alone"
    WHOLE = "it is about the whole fleet, so a scoped token may not use it"


@dataclass(frozen=True, slots=True)
class Access:
    """One line of the table."""

    who: Role | Party
    reach: Reach = Reach.NO_DEVICE


OPEN, SLOWLY, DEVICE, EITHER = (Access(party) for party in Party)
SCOPED, WHOLE = Reach.SCOPED, Reach.WHOLE

ROUTES: Mapping[tuple[str, str], Access] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/openapi.json"): SLOWLY,
    ("GET", "/v1/ca"): SLOWLY,
    ("POST", "/v1/enrol/challenge"): SLOWLY,
    ("POST", "/v1/enrol"): SLOWLY,
    ("POST", "/v1/enrol/{request_id}/poll"): SLOWLY,
    ("POST", "/v1/device/challenge"): SLOWLY,
    ("POST", "/v1/device/session"): SLOWLY,
    ("POST", "/v1/time"): SLOWLY,
    ("POST", "/v1/device/renew"): DEVICE,
    ("GET", "/v1/values/{sha256}"): DEVICE,
    # what operators see and change
    ("GET", "/v1/whoami"): Access("viewer"),
    ("GET", "/v1/status"): Access("viewer", WHOLE),
    ("GET", "/v1/online-keys"): Access("viewer"),
    ("GET", "/v1/devices"): Access("viewer", SCOPED),
    ("GET", "/v1/devices/{device_id}"): Access("viewer", SCOPED),
    ("POST", "/v1/devices/{device_id}/revoke"): Access("operator", SCOPED),
    ("GET", "/v1/events"): Access("viewer", SCOPED),
    ("GET", "/v1/fleets"): Access("viewer", SCOPED),
    ("GET", "/v1/stream"): Access("viewer", SCOPED),
    ("PUT", "/v1/streams/{stream_id}/window"): Access("viewer", SCOPED),
    ("POST", "/v1/plan"): Access("viewer", SCOPED),
    ("POST", "/v1/apply"): Access("operator", SCOPED),
    ("GET", "/v1/rollouts"): Access("viewer", SCOPED),
    ("GET", "/v1/rollouts/{rollout_id}"): Access("viewer", SCOPED),
    ("GET", "/v1/rollouts/{rollout_id}/devices"): Access("viewer", SCOPED),
    ("GET", "/v1/rollouts/{rollout_id}/devices/{device_id}"): Access("viewer", SCOPED),
    ("GET", "/v1/rollouts/{rollout_id}/history"): Access("viewer", SCOPED),
    ("POST", "/v1/rollouts/{rollout_id}/verbs"): Access("operator", SCOPED),
    ("POST", "/v1/rollouts/{rollout_id}/approve"): Access("approver", SCOPED),
    ("POST", "/v1/rollouts/{rollout_id}/deny"): Access("approver", SCOPED),
    ("GET", "/v1/quarantine"): Access("viewer"),
    ("POST", "/v1/quarantine/{app}/{release}/lift"): Access("operator", WHOLE),
    ("GET", "/v1/pins"): Access("viewer", SCOPED),
    ("POST", "/v1/devices/{device_id}/pins"): Access("operator", SCOPED),
    ("POST", "/v1/devices/{device_id}/pins/{app}/end"): Access("operator", SCOPED),
    ("GET", "/v1/tokens"): Access("viewer", SCOPED),
    ("POST", "/v1/tokens"): Access("installer", SCOPED),
    ("GET", "/v1/enrolments"): Access("viewer", SCOPED),
    ("POST", "/v1/enrolments/{request_id}/approve"): Access("installer", SCOPED),
    ("POST", "/v1/enrolments/{request_id}/reject"): Access("installer", SCOPED),
    ("GET", "/v1/audit"): Access("viewer", WHOLE),
    ("GET", "/v1/audit/heads"): Access("viewer", WHOLE),
    ("GET", "/v1/api-tokens"): Access("admin", WHOLE),
    ("POST", "/v1/api-tokens"): Access("admin", WHOLE),
    ("POST", "/v1/api-tokens/{name}/revoke"): Access("admin", WHOLE),
    # releases: metadata, targets, images
    ("GET", "/tuf/metadata/{name:path}.json"): EITHER,
    ("GET", "/tuf/targets/{path:path}"): EITHER,
    ("PUT", "/v1/tuf/metadata/{role:path}"): Access("releaser", WHOLE),
    ("PUT", "/v1/tuf/targets/{sha256}"): Access("releaser", WHOLE),
    ("GET", "/v2"): EITHER,
    ("GET", "/v2/"): EITHER,
    ("GET", "/v2/apps/{app}/blobs/{digest}"): EITHER,
    ("GET", "/v2/apps/{app}/manifests/{reference}"): EITHER,
    ("GET", "/v2/apps/{app}/tags/list"): EITHER,
    ("POST", "/v2/apps/{app}/blobs/uploads"): Access("releaser", WHOLE),
    ("POST", "/v2/apps/{app}/blobs/uploads/"): Access("releaser", WHOLE),
    ("GET", "/v2/apps/{app}/blobs/uploads/{ident}"): Access("releaser", WHOLE),
    ("PATCH", "/v2/apps/{app}/blobs/uploads/{ident}"): Access("releaser", WHOLE),
    ("PUT", "/v2/apps/{app}/blobs/uploads/{ident}"): Access("releaser", WHOLE),
    ("DELETE", "/v2/apps/{app}/blobs/uploads/{ident}"): Access("releaser", WHOLE),
    ("PUT", "/v2/apps/{app}/manifests/{reference}"): Access("releaser", WHOLE),
}


def rule(method: str, path: str) -> Access | None:
    """The line for a route's template; HEAD is as GET. None: nobody may."""
    return ROUTES.get(("GET" if method == "HEAD" else method, path))


def methods_of(path: str) -> list[str]:
    """What the routes of a path take together, for `Allow`."""
    return sorted({method for (method, template), pattern in _PATTERNS.items() if pattern.fullmatch(path)})


_PATTERNS = {key: compile_path(key[1])[0] for key in ROUTES}


def allows(access: Access, role: Role | None, scope: Mapping[str, str]) -> str | None:
    """Why an operator with this role and scope may not, or None. A device has no role."""
    if isinstance(access.who, Party):
        return None if access.who is not Party.DEVICE else "only a device may ask for this"
    if role is None or access.who not in COVERS[role]:
        return f"it takes the role {access.who}"
    if scope and access.reach is Reach.WHOLE:
        return "it concerns the whole fleet, and this token is for a part of it"
    return None


def within(scope: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a device with these labels belongs to a scope; every device does to the empty one."""
    return all(labels.get(key) == value for key, value in scope.items())


def faults(routes: set[tuple[str, str]]) -> list[str]:
    """What is wrong with the table, held against the routes that there are."""
    missing = [f"{method} {path} has no line" for method, path in sorted(routes - ROUTES.keys())]
    return missing + [f"{method} {path} is no route" for method, path in sorted(ROUTES.keys() - routes)]
