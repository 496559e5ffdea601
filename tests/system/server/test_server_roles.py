"""Every route of the real server against every role, and what a token for a part of the fleet sees and changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from server_process_support import ServerUnderTest, running_server

from fleet_server.http.app import ROUTERS, routes_of

OPEN = {
    "GET /healthz", "GET /openapi.json", "GET /v1/ca", "POST /v1/enrol/challenge", "POST /v1/enrol",
    "POST /v1/enrol/{request_id}/poll", "POST /v1/device/challenge", "POST /v1/device/session", "POST /v1/time",
}  # fmt: skip
DEVICES = {"POST /v1/device/renew", "GET /v1/values/{sha256}"}
READING = {
    "GET /tuf/metadata/{name:path}.json", "GET /tuf/targets/{path:path}", "GET /v2", "GET /v2/",
    "GET /v2/apps/{app}/blobs/{digest}", "GET /v2/apps/{app}/manifests/{reference}", "GET /v2/apps/{app}/tags/list",
}  # fmt: skip
VIEWER = READING | {
    "GET /v1/whoami", "GET /v1/status", "GET /v1/online-keys", "GET /v1/devices", "GET /v1/devices/{device_id}",
    "GET /v1/events", "GET /v1/fleets", "POST /v1/plan", "GET /v1/tokens", "GET /v1/enrolments",
    "GET /v1/rollouts", "GET /v1/rollouts/{rollout_id}", "GET /v1/rollouts/{rollout_id}/devices",
    "GET /v1/rollouts/{rollout_id}/devices/{device_id}", "GET /v1/rollouts/{rollout_id}/history", "GET /v1/quarantine",
    "GET /v1/pins",
    "GET /v1/audit", "GET /v1/audit/heads", "GET /v1/stream", "PUT /v1/streams/{stream_id}/window",
}  # fmt: skip
INSTALLER = VIEWER | {
    "POST /v1/tokens", "POST /v1/enrolments/{request_id}/approve", "POST /v1/enrolments/{request_id}/reject",
}  # fmt: skip
OPERATOR = INSTALLER | {
    "POST /v1/apply", "POST /v1/devices/{device_id}/revoke", "POST /v1/rollouts/{rollout_id}/verbs",
    "POST /v1/quarantine/{app}/{release}/lift", "POST /v1/devices/{device_id}/pins",
    "POST /v1/devices/{device_id}/pins/{app}/end",
}  # fmt: skip
RELEASER = VIEWER | {
    "PUT /v1/tuf/metadata/{role:path}", "PUT /v1/tuf/targets/{sha256}",
    "POST /v2/apps/{app}/blobs/uploads", "POST /v2/apps/{app}/blobs/uploads/",
    "GET /v2/apps/{app}/blobs/uploads/{ident}", "PATCH /v2/apps/{app}/blobs/uploads/{ident}",
    "PUT /v2/apps/{app}/blobs/uploads/{ident}", "DELETE /v2/apps/{app}/blobs/uploads/{ident}",
    "PUT /v2/apps/{app}/manifests/{reference}",
}  # fmt: skip
APPROVER = VIEWER | {"POST /v1/rollouts/{rollout_id}/approve", "POST /v1/rollouts/{rollout_id}/deny"}
ADMIN = OPERATOR | RELEASER | APPROVER | {
    "GET /v1/api-tokens", "POST /v1/api-tokens", "POST /v1/api-tokens/{name}/revoke",
}  # fmt: skip
MAY = {
    "viewer": VIEWER, "installer": INSTALLER, "operator": OPERATOR, "releaser": RELEASER, "approver": APPROVER,
    "admin": ADMIN, "device": READING | DEVICES,
}  # fmt: skip
FILLED = {"app": "cam", "name": "timestamp", "sha256": "a" * 64, "digest": "sha256:" + "a" * 64}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    with running_server() as made:
        made.make_trust("cam")
        yield made


@pytest.fixture(scope="module")
def tokens(server: ServerUnderTest) -> dict[str, str]:
    """Who -> token."""
    made = {role: a_token(server, role, role) for role in MAY if role not in ("device", "admin")}
    return {**made, "admin": server.token, "device": server.enrol("roles-1").session()}


def a_token(server: ServerUnderTest, name: str, role: str, **over: Any) -> str:
    return str(server.api("POST", "/v1/api-tokens", {"name": name, "role": role, **over})["token"])


def routes() -> list[str]:
    return sorted(f"{method} {path}" for method, path in routes_of(ROUTERS))


def test_the_matrix_below_is_about_every_route() -> None:
    assert set(routes()) == OPEN | DEVICES | ADMIN


@pytest.mark.parametrize("who", [*MAY, "nobody", "a wrong token"])
def test_every_route_is_open_to_whom_it_is_for_and_to_nobody_else(
    server: ServerUnderTest, tokens: dict[str, str], who: str
) -> None:
    wrong: list[str] = []
    for route in routes():
        method, path = route.split()
        filled = re.sub(r"\{(\w+)(?::path)?\}", lambda m: FILLED.get(m[1], "nosuch-1"), path)
        filled += "?count=501" if path == "/v1/stream" else ""  # refused behind the door: an open one never ends
        token = {"nobody": None, "a wrong token": "rso_wrong"}.get(who, tokens.get(who))
        status, headers, body = server.http(method, filled, b"[]" if method != "GET" else None, token=token)
        known = who in MAY
        expected_in = route in OPEN or (known and route in MAY[who])
        got_in = status not in (401, 403)
        if got_in != expected_in or (not expected_in and status != (403 if known else 401)):
            wrong.append(f"{who}: {route} answers {status}")
        if not got_in:
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(body)["code"] == ("E0903" if known else "E0902")
    assert wrong == []


# --- tokens


def test_a_token_is_shown_once_and_ends_at_once(server: ServerUnderTest) -> None:
    token = a_token(server, "short", "viewer", ttl_s=3600)
    assert server.api("GET", "/v1/whoami", token=token)["name"] == "short"
    listed = server.api("GET", "/v1/api-tokens")
    row = next(r for r in listed["items"] if r["name"] == "short")
    assert (row["role"], row["created_by"], row["expires"] - row["created_at"]) == ("viewer", "admin", 3600)
    assert token not in json.dumps(listed)
    assert token not in "".join(server.server.said if server.server else [])
    assert token.encode() not in (server.dir / "server.db").read_bytes()
    again = server.api("POST", "/v1/api-tokens", {"name": "short"}, status=409)
    assert (again["cause"], again["next"]) == ("the name was used before", "fleet token list")
    server.api("POST", "/v1/api-tokens/short/revoke")
    assert server.api("GET", "/v1/whoami", status=401, token=token)["code"] == "E0902"
    server.api("POST", "/v1/api-tokens/short/revoke", status=404)
    server.api("POST", "/v1/api-tokens", {"name": "short"}, status=409)


# --- scopes


@pytest.fixture(scope="module")
def sites(server: ServerUnderTest) -> dict[str, str]:
    """Devices at two sites with an event each, and tokens for lyon."""
    for name, site in [("lyon-1", "lyon"), ("lyon-2", "lyon"), ("oslo-1", "oslo")]:
        device = server.enrol(name, labels={"site": site})
        with device.online():
            device.outbox = [1]
            device.drain()
    scope = {"site": "lyon"}
    return {role: a_token(server, f"lyon-{role}", role, scope=scope) for role in ("viewer", "operator", "admin")}


def a_fleet(site: str, name: str = "") -> dict[str, Any]:
    return {"fleets": [{"name": name or f"f-{site}", "select": {"site": site}, "run": []}]}


def test_a_scoped_operator_sees_the_scopes_devices_alone(server: ServerUnderTest, sites: dict[str, str]) -> None:
    token = sites["operator"]
    assert server.api("GET", "/v1/whoami", token=token)["scope"] == {"site": "lyon"}
    seen = server.api("GET", "/v1/devices", token=token)["items"]
    assert [d["device_id"] for d in seen] == ["lyon-1", "lyon-2"]
    assert {e["device_id"] for e in server.api("GET", "/v1/events", token=token)["items"]} == {"lyon-1", "lyon-2"}
    # What is elsewhere answers as if it were not there: in the same words as a name that nobody ever had.
    there = server.api("GET", "/v1/devices/oslo-1", token=token, status=404)
    nowhere = server.api("GET", "/v1/devices/oslo-9", token=token, status=404)
    assert json.dumps(there).replace("oslo-1", "oslo-9") == json.dumps(nowhere)
    assert server.api("GET", "/v1/devices?where=oslo", token=token)["total"] == 0
    assert server.api("GET", "/v1/events?device=oslo-1", token=token)["items"] == []
    assert b"oslo" not in b"".join(
        server.http("GET", path, token=token)[2] for path in ("/v1/tokens", "/v1/enrolments", "/v1/fleets")
    )


def test_a_scoped_operator_changes_the_scopes_devices_alone(server: ServerUnderTest, sites: dict[str, str]) -> None:
    token = sites["operator"]
    server.api("POST", "/v1/devices/oslo-1/revoke", token=token, status=404)
    assert server.api("GET", "/v1/devices/oslo-1")["device_id"] == "oslo-1"
    for fleets in (a_fleet("oslo"), {"fleets": [{"name": "all", "select_all": True, "run": []}]}):
        refused = server.api("POST", "/v1/plan", fleets, token=token, status=403)
        assert "reaches beyond lyon-operator's scope" in refused["cause"]
    everything = server.api("POST", "/v1/plan", a_fleet("lyon"))
    mine = server.api("POST", "/v1/plan", a_fleet("lyon"), token=token)
    assert (everything["unchanged"] > 2, mine["unchanged"]) == (True, 2)
    assert server.api("POST", "/v1/apply", mine, token=token)["devices"] == 0
    assert [f["name"] for f in server.api("GET", "/v1/fleets", token=token)["items"]] == ["f-lyon"]
    # A fleet of another site cannot be taken over by naming it with a selector of one's own.
    server.api("POST", "/v1/apply", server.api("POST", "/v1/plan", a_fleet("oslo")))
    server.api("POST", "/v1/plan", a_fleet("lyon", "f-oslo"), token=token, status=403)
    server.api("POST", "/v1/apply", {**mine, "request": a_fleet("lyon", "f-oslo")}, token=token, status=403)
    assert [f["name"] for f in server.api("GET", "/v1/fleets", token=token)["items"]] == ["f-lyon"]


def test_a_scoped_operator_enrols_into_the_scope_alone(server: ServerUnderTest, sites: dict[str, str]) -> None:
    token = sites["operator"]
    for labels in ({}, {"site": "oslo"}):
        server.api("POST", "/v1/tokens", {"labels": labels}, token=token, status=403)
    server.api("POST", "/v1/tokens", {"labels": {"site": "lyon", "role": "cam"}}, token=token)


def test_a_scoped_admin_makes_no_tokens(server: ServerUnderTest, sites: dict[str, str]) -> None:
    asked = {"name": "wider", "role": "admin"}
    assert server.api("POST", "/v1/api-tokens", asked, token=sites["admin"], status=403)["code"] == "E0903"
    server.api("GET", "/v1/status", token=sites["viewer"], status=403)
