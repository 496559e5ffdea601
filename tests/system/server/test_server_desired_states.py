"""From a fleet to a retained document on a device's topic, over a real broker and real HTTPS."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import Any

from server_process_support import ServerUnderTest, wait_until

from fleet_protocol.documents.desired import DESIRED_TYPE, DesiredState
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import PublicKey
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES
from fleet_release.trust.ceremony import TrustDirectory


def a_change(*run: str, name: str = "lab", **over: Any) -> dict[str, Any]:
    apps = [dict(zip(("app", "version"), r.split("@"), strict=True)) for r in run]
    return {"fleets": [{"name": name, "select": {"site": "lab"}, "run": apps, **over}]}


def test_plan_writes_nothing_and_apply_does_exactly_what_the_plan_says(
    server: ServerUnderTest, trust: TrustDirectory
) -> None:
    device = server.enrol("cam-1")
    before = server.api("GET", "/v1/status")["audit_rows"]
    plan = server.api("POST", "/v1/plan", a_change("cam@1.9.0"))
    assert server.api("GET", "/v1/status")["audit_rows"] == before
    assert server.api("GET", "/v1/fleets")["items"] == []
    assert [d["device_id"] for d in plan["devices"]] == ["cam-1"]
    with device.online():
        applied = server.api("POST", "/v1/apply", plan)
        assert (applied["devices"], applied["rollouts"]) == (1, [plan["rollouts"][0]["rollout_id"]])
        wait_until(lambda: bool(device.desired), "the desired state")
        told, envelope = device.desired[0]
        assert len(envelope) <= MAX_DESIRED_BYTES
        director = PublicKey(server.api("GET", "/v1/online-keys")["director"].encode())
        payload = dsse.verify(envelope, DESIRED_TYPE, (director,), max_bytes=MAX_DESIRED_BYTES)
        assert told == {"generation": "1", "sha256": hashlib.sha256(payload).hexdigest()}
        state = DesiredState.parse(payload)
        assert (state.device_id, [a.app for a in state.apps]) == ("cam-1", ["cam"])

        # Again, the same plan: the world has moved.
        refused = server.api("POST", "/v1/apply", plan, status=409)
        assert "changed since this plan was made" in refused["detail"]

        device.report(1, told["sha256"])
        wait_until(lambda: server.api("GET", "/v1/devices/cam-1")["state"] == "ok", "the device to be ok")


def test_a_plan_with_refusals_cannot_be_applied(server: ServerUnderTest, trust: TrustDirectory) -> None:
    plan = server.api("POST", "/v1/plan", a_change("cam@9.9.9", name="other"))
    assert "there is no release 9.9.9 of app cam" in plan["refusals"][0]["sentence"]
    assert server.api("POST", "/v1/apply", plan, status=422)["code"] == "E0908"


def test_a_device_that_names_something_else_is_sent_its_desired_state_again(
    server: ServerUnderTest, trust: TrustDirectory
) -> None:
    device = server.enrol("cam-again")
    server.api("POST", "/v1/apply", server.api("POST", "/v1/plan", a_change("cam@1.9.0")))
    with device.online():
        wait_until(lambda: bool(device.desired), "the retained document")
        seen = len(device.desired)
        device.report(0)
        wait_until(lambda: len(device.desired) > seen, "the document again")
        view = server.api("GET", "/v1/devices/cam-again")
        assert (view["state"], view["desired_generation"]) == ("updating", 1)
        # Once more at once is not answered at once: the answer is rate limited.
        seen = len(device.desired)
        device.report(0)
        device.report(1, view["desired_sha256"])
        wait_until(lambda: server.api("GET", "/v1/devices/cam-again")["state"] == "ok", "the device to be ok")
        assert len(device.desired) == seen


def test_after_the_broker_lost_everything_desired_states_are_there_again(
    server: ServerUnderTest, trust: TrustDirectory
) -> None:
    device = server.enrol("cam-lost")
    server.api("POST", "/v1/apply", server.api("POST", "/v1/plan", a_change("cam@1.9.0")))
    assert server.broker is not None
    server.broker.end(signal.SIGKILL)
    for file in (server.dir / "broker/data").iterdir():
        file.unlink()
    server.start_broker()
    server.wait_connected()
    with device.online():
        wait_until(lambda: bool(device.desired), "the retained document after the broker was emptied")


def test_a_restored_backup_is_overtaken(server: ServerUnderTest, trust: TrustDirectory) -> None:
    device = server.enrol("cam-ahead")
    server.api("POST", "/v1/apply", server.api("POST", "/v1/plan", a_change("cam@1.9.0")))
    with device.online():
        device.report(41, "c" * 64)  # accepted once from a store that is no more
        wait_until(lambda: any(told["generation"] == "42" for told, _ in device.desired), "a newer generation")
        newest = next(json.dumps(told) for told, _ in device.desired if told["generation"] == "42")
        assert "sha256" in newest
    assert server.api("GET", "/v1/devices/cam-ahead")["desired_generation"] == 42


def test_large_values_are_fetched_by_their_hash_within_a_session(
    server: ServerUnderTest, trust: TrustDirectory
) -> None:
    declared = {"page": {"service": "web", "type": "text", "file": "/etc/page", "max_bytes": 65536}}
    server.release(trust, "gw", "1.1.0", config=declared)
    device = server.enrol("gw-1", labels={"site": "gw"})
    change = a_change("gw@1.1.0", name="gw", select={"site": "gw"}, config={"gw": {"page": "p" * 5000}})
    server.api("POST", "/v1/apply", server.api("POST", "/v1/plan", change))
    digest = hashlib.sha256(b"p" * 5000).hexdigest()
    assert server.http("GET", f"/v1/values/{digest}", token=device.session())[2] == b"p" * 5000
    assert server.http("GET", f"/v1/values/{digest}")[0] == 403
