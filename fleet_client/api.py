"""The server's HTTP API, one method a route (docs/wire.md). Answers are the documents of `fleet_protocol.documents` as
plain dictionaries: a quick command must not pay for the models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

from fleet_client.contexts import Context
from fleet_client.http import Connection, ServerSaidError
from fleet_protocol.wire.errors import UnreachableError

Json = dict[str, Any]
PAGE = 500


class FleetClient:
    """A connection with the server's verbs. Use as a context manager."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.connection = Connection(context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    # tokens of the API itself

    def whoami(self) -> Json:
        """Name, role and scope of the context's own token."""
        return self._object("GET", "/v1/whoami")

    def api_tokens(self) -> list[Json]:
        """ApiTokenRow of every token that ever was."""
        return self._pages("/v1/api-tokens")

    def new_api_token(self, wish: Json) -> Json:
        """NewApiToken -> IssuedApiToken; the token is in the answer and nowhere else."""
        return self._object("POST", "/v1/api-tokens", wish)

    def revoke_api_token(self, name: str) -> None:
        """End it, at once and for good."""
        self.connection.json("POST", f"/v1/api-tokens/{quote(name, safe='')}/revoke")

    # the audit log

    def audit(self, where: str = "", limit: int | None = None) -> list[Json]:
        """Newest first."""
        return self._pages("/v1/audit", {"where": where}, limit)

    def audit_chain(self, after: int = 0) -> Iterator[Json]:
        """Every row behind `after`, oldest first, page by page."""
        while True:
            page = self._object("GET", f"/v1/audit?after={after}&limit={PAGE}")
            rows = page.get("items")
            if not isinstance(rows, list):
                raise UnreachableError("the answer is not what a fleet-server gives: no items", element="/v1/audit")
            yield from rows
            if not page.get("next"):
                return
            after = int(page["next"])

    def audit_heads(self) -> bytes:
        """Signed heads, one a line."""
        return self.connection.raw("GET", "/v1/audit/heads")[1]

    # devices

    def devices(self, where: str = "", sort: str = "", limit: int | None = None, *, view: str = "full") -> list[Json]:
        """DeviceView (or with view="row" DeviceRow) of every device that `where` means, in the order of `sort`."""
        return self._pages("/v1/devices", {"where": where, "sort": sort, "view": view}, limit)

    def device(self, device_id: str) -> Json:
        """DeviceView of one, with its newest events."""
        return self._object("GET", f"/v1/devices/{quote(device_id, safe='')}")

    def revoke_device(self, device_id: str) -> None:
        """End its identity, at once and for good."""
        self.connection.json("POST", f"/v1/devices/{quote(device_id, safe='')}/revoke")

    def events(self, device_id: str | None = None, limit: int | None = 100, where: str = "") -> list[Json]:
        """Newest first."""
        return self._pages("/v1/events", {"device": device_id or "", "where": where}, limit)

    # enrolment

    def issue_token(self, request: Json) -> Json:
        """NewToken -> IssuedToken; the secret is in the answer and nowhere else."""
        return self._object("POST", "/v1/tokens", request)

    def tokens(self) -> list[Json]:
        """Tokens without their secrets."""
        return self._pages("/v1/tokens")

    def enrolments(self) -> list[Json]:
        """EnrolmentRow of every request."""
        return self._pages("/v1/enrolments")

    def decide_enrolment(self, request_id: str, *, approve: bool) -> Json:
        """Approve or reject."""
        verb = "approve" if approve else "reject"
        return self._object("POST", f"/v1/enrolments/{quote(request_id, safe='')}/{verb}")

    # fleets

    def fleets(self) -> list[Json]:
        """FleetSpec of every fleet."""
        return self._pages("/v1/fleets")

    def plan(self, request: Json) -> Json:
        """PlanRequest -> Plan; changes nothing."""
        return self._object("POST", "/v1/plan", request)

    def apply(self, plan: Json, *, start: bool = True) -> Json:
        """Plan -> Applied. Raises ServerSaidError (exit status CONFLICT) when the world has moved since."""
        return self._object("POST", "/v1/apply" + ("" if start else "?start=false"), plan)

    # rollouts

    def rollouts(self, limit: int = 100) -> list[Json]:
        """RolloutView of each, newest first, without causes."""
        return self._pages("/v1/rollouts", limit=limit)

    def rollout(self, rollout_id: str) -> Json:
        """RolloutView of one."""
        return self._object("GET", f"/v1/rollouts/{quote(rollout_id, safe='')}")

    def rollout_devices(self, rollout_id: str) -> list[Json]:
        """Wave, phase and first cause of each of its devices."""
        return self._pages(f"/v1/rollouts/{quote(rollout_id, safe='')}/devices")

    def rollout_why(self, rollout_id: str, device_id: str) -> Json:
        """WhyNot of one device."""
        return self._object("GET", f"/v1/rollouts/{quote(rollout_id, safe='')}/devices/{quote(device_id, safe='')}")

    def rollout_history(self, rollout_id: str) -> list[Json]:
        """What was asked and decided, oldest first."""
        return self._pages(f"/v1/rollouts/{quote(rollout_id, safe='')}/history")

    def ask_rollout(self, rollout_id: str, act: str, **said: str) -> Json:
        """VerbRequest -> RolloutView. Raises ServerSaidError (CONFLICT) in the rollout's words."""
        return self._object("POST", f"/v1/rollouts/{quote(rollout_id, safe='')}/verbs", {"act": act, **said})

    def judge_rollout(self, rollout_id: str, *, approve: bool, wave: str, reason: str) -> Json:
        """ApprovalRequest -> RolloutView."""
        verb = "approve" if approve else "deny"
        body = {"wave": wave, "reason": reason}
        return self._object("POST", f"/v1/rollouts/{quote(rollout_id, safe='')}/{verb}", body)

    def quarantine(self) -> list[Json]:
        """QuarantineView of every release that nobody gets."""
        return self._pages("/v1/quarantine")

    def lift_quarantine(self, app: str, release: str, reason: str) -> None:
        """It may be brought to devices again."""
        path = f"/v1/quarantine/{quote(app, safe='')}/{quote(release, safe='')}/lift"
        self.connection.json("POST", path, {"reason": reason})

    def pins(self) -> list[Json]:
        """PinView of every pin."""
        return self._pages("/v1/pins")

    def pin(self, device_id: str, request: Json) -> Json:
        """PinRequest -> PinView."""
        return self._object("POST", f"/v1/devices/{quote(device_id, safe='')}/pins", request)

    def unpin(self, device_id: str, app: str) -> None:
        """It goes with its fleet again."""
        self.connection.json("POST", f"/v1/devices/{quote(device_id, safe='')}/pins/{quote(app, safe='')}/end")

    # trust

    def online_keys(self) -> Json:
        """OnlineKeys."""
        return self._object("GET", "/v1/online-keys")

    def get_metadata(self, name: str) -> bytes | None:
        """TUF metadata bytes as a TUF client names them (`timestamp`, `3.targets`), or None."""
        try:
            return self.connection.raw("GET", f"/tuf/metadata/{quote(name, safe='')}.json")[1]
        except ServerSaidError as error:
            if error.status == 404:
                return None
            raise

    def get_target(self, path: str) -> bytes | None:
        """A TUF target by its path with hash prefix, or None."""
        try:
            return self.connection.raw("GET", f"/tuf/targets/{quote(path)}")[1]
        except ServerSaidError as error:
            if error.status == 404:
                return None
            raise

    def put_target(self, sha256: str, data: bytes) -> None:
        """Upload a target before the role that lists it."""
        self.connection.raw("PUT", f"/v1/tuf/targets/{sha256}", data, {"Content-Type": "application/octet-stream"})

    def put_metadata(self, role: str, data: bytes, if_match: int) -> Json:
        """Compare-and-swap upload of a role; `if_match` is the version it replaces, 0 for none."""
        headers = {"If-Match": str(if_match), "Content-Type": "application/json"}
        answer = self.connection.raw("PUT", f"/v1/tuf/metadata/{quote(role, safe='')}", data, headers)[1]
        return dict(json.loads(answer))

    # inside

    def _object(self, method: str, path: str, body: Any = None) -> Json:
        answer = self.connection.json(method, path, body)
        if answer is not None and not isinstance(answer, dict):
            raise UnreachableError("the answer is not what a fleet-server gives", element=path)
        return answer or {}

    def _pages(self, path: str, query: Mapping[str, str] | None = None, limit: int | None = None) -> list[Json]:
        """Items of as many pages as it takes; at most `limit`."""
        out: list[Json] = []
        cursor = ""
        while True:
            size = PAGE if limit is None else min(PAGE, limit - len(out))
            asked = {"limit": str(size), **(query or {}), "cursor": cursor}
            text = urlencode({key: value for key, value in asked.items() if value})
            page = self._object("GET", f"{path}?{text}")
            items, cursor = page.get("items"), page.get("next") or ""
            if not isinstance(items, list) or not isinstance(cursor, str):
                raise UnreachableError("the answer is not what a fleet-server gives: no items", element=path)
            out += items
            if not cursor or (limit is not None and len(out) >= limit):
                return out
