"""The HTTP side over real TLS: who may ask what, in which shape no is said, what is bounded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from server_process_support import ServerUnderTest

from fleet_protocol.documents.api import Problem
from fleet_protocol.documents.enrolment import TIME_TYPE, TimeStatement
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import PublicKey
from fleet_release.trust.ceremony import TrustDirectory

NONCE = "n" * 43


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/v1/devices", None, 405),
        ("GET", "/v1/devices/nobody", None, 404),
        ("GET", "/v1/events?limit=0", None, 400),
        ("GET", "/v1/events?limit=x", None, 400),
        ("POST", "/v1/tokens", b"{", 400),
        ("POST", "/v1/tokens", b'{"uses": 1, "uses": 2}', 400),
        ("POST", "/v1/tokens", b'{"surprise": 1}', 400),
        ("POST", "/v1/tokens", b'{"uses": 9007199254740993}', 400),
        ("POST", "/v1/tokens", b" " * 70_000, 413),
        ("POST", "/v1/enrolments/nosuchrequest/approve", None, 404),
        ("POST", "/v1/devices/nobody/revoke", None, 404),
        ("PUT", "/v1/tuf/metadata/root", b"{}", 400),
        ("GET", "/tuf/metadata/..%2F..%2Fkeys.json", None, 404),
        ("GET", "/tuf/metadata/99.root.json", None, 404),
        ("GET", "/tuf/targets/releases/..%2F..%2Fserver.db", None, 404),
        ("GET", "/v1/values/" + "a" * 64, None, 403),
        ("GET", "/v2/apps/cam/blobs/sha256:..%2F..%2Fserver.db", None, 404),
        ("GET", "/v2/apps/cam/blobs/SHA256:" + "a" * 64, None, 400),
        ("GET", "/v2/apps/..cam/tags/list", None, 400),
    ],
)
def test_every_no_has_one_shape(
    server: ServerUnderTest, method: str, path: str, body: bytes | None, status: int
) -> None:
    got, headers, answer = server.http(method, path, body)
    assert got == status, answer
    assert headers["content-type"] == "application/problem+json"
    said = Problem.parse(answer)
    assert said.detail.startswith("While ")
    assert said.cause in said.detail
    assert (said.status, said.type) == (status, f"urn:roadstead:error:{said.code}")


def test_a_device_may_read_what_it_needs_and_change_nothing(server: ServerUnderTest, trust: TrustDirectory) -> None:
    token = server.enrol("http-1").session()
    for path in (
        "/tuf/metadata/timestamp.json",
        "/tuf/metadata/1.release%2Fcam.json",
        "/v2/",
        "/v2/apps/cam/tags/list",
    ):
        assert server.http("GET", path, token=token)[0] == 200, path
    for method, path in [
        ("GET", "/v1/devices"), ("POST", "/v1/plan"), ("POST", "/v1/apply"), ("POST", "/v1/tokens"),
        ("PUT", "/v1/tuf/metadata/root"), ("PUT", "/v1/tuf/targets/" + "a" * 64),
        ("POST", "/v2/apps/cam/blobs/uploads/"), ("PUT", "/v2/apps/cam/manifests/x"), ("GET", "/v1/status"),
    ]:  # fmt: skip
        assert server.http(method, path, b"{}", token=token)[0] == 403, path


def test_a_session_takes_the_devices_own_signature_once(server: ServerUnderTest) -> None:
    device, other = server.enrol("http-2"), server.enrol("http-3")
    nonce = server.api("POST", "/v1/device/challenge", {"device_id": device.name}, token=None)["nonce"]
    forged = {**other.session_request(nonce), "device_id": device.name}
    assert server.api("POST", "/v1/device/session", forged, status=401, token=None)["code"] == "E0902"
    good = device.session_request(nonce)
    assert server.api("POST", "/v1/device/session", good, token=None)["expires_in_s"] == 900
    server.api("POST", "/v1/device/session", good, status=401, token=None)
    unknown = server.api("POST", "/v1/device/challenge", {"device_id": "nobody"}, token=None)["nonce"]
    assert len(unknown) == len(nonce)
    server.api("POST", "/v1/device/session", {**good, "device_id": "nobody", "nonce": unknown}, status=401, token=None)


def test_a_revoked_device_is_out_at_once_on_both_sides(server: ServerUnderTest) -> None:
    device = server.enrol("http-4")
    token = device.session()
    assert server.http("GET", "/v2/", token=token)[0] == 200
    server.api("POST", "/v1/devices/http-4/revoke")
    assert server.http("GET", "/v2/", token=token)[0] == 401
    assert "user http-4" not in (server.dir / "broker/acl").read_text()
    nonce = server.api("POST", "/v1/device/challenge", {"device_id": device.name}, token=None)["nonce"]
    server.api("POST", "/v1/device/session", device.session_request(nonce), status=401, token=None)


def test_the_time_is_signed_for_the_one_who_asks(server: ServerUnderTest) -> None:
    _, _, envelope = server.http("POST", "/v1/time", json.dumps({"nonce": NONCE}).encode(), token=None)
    key = PublicKey(server.api("GET", "/v1/online-keys")["time"].encode())
    statement = TimeStatement.parse(dsse.verify(envelope, TIME_TYPE, (key,), max_bytes=4096))
    assert statement.nonce == NONCE


def test_metadata_is_taken_by_compare_and_swap(server: ServerUnderTest, trust: TrustDirectory) -> None:
    current = server.http("GET", "/tuf/metadata/1.targets.json")[2]
    again = server.http("PUT", "/v1/tuf/metadata/targets", current, {"If-Match": "0"})
    assert again[0] in (200, 409)
    conflict = server.http("PUT", "/v1/tuf/metadata/release%2Fcam", current, {"If-Match": "7"})
    assert conflict[0] == 409, conflict
    assert server.http("PUT", "/v1/tuf/metadata/snapshot", current, {"If-Match": "1"})[0] == 422


def test_the_secret_of_a_token_is_shown_once(server: ServerUnderTest) -> None:
    issued = server.api("POST", "/v1/tokens", {"labels": {"site": "lab"}})
    listed = server.api("GET", "/v1/tokens")["items"]
    assert issued["token_id"] in [token["token_id"] for token in listed]
    assert issued["secret"] not in json.dumps(listed)
    assert issued["secret"] not in "".join(server.server.said if server.server else [])


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", {"/v1/devices": 200, "/v1/tokens": 403, "/v1/enrolments/nosuch00/approve": 403}),
        ("operator", {"/v1/devices": 200, "/v1/tokens": 400, "/v1/enrolments/nosuch00/approve": 404}),
    ],
)
def test_an_operator_may_do_what_the_role_allows(server: ServerUnderTest, role: str, allowed: dict[str, int]) -> None:
    file = server.folder / f"{role}.token"
    command = [sys.executable, "-m", "fleet_server.main", "operator"]
    place = ["--dir", str(server.dir)]
    subprocess.run([*command, "add", role, "--role", role, "--token-file", str(file), *place], check=True)
    token = file.read_text().strip()
    for path, status in allowed.items():
        method = "GET" if path == "/v1/devices" else "POST"
        assert server.http(method, path, b"[]", token=token)[0] == status, path
    subprocess.run([*command, "revoke", role, *place], check=True)
    assert server.http("GET", "/v1/devices", token=token)[0] == 401
