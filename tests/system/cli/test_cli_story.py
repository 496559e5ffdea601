"""The real command against a real server over TLS: what an owner types, and what it answers."""

from __future__ import annotations

import json

import pytest
from cli_support import COMPOSE, Operator
from server_process_support import ServerUnderTest

from fleet_protocol.wire.errors import Exit


@pytest.fixture(scope="module")
def lab_device(server: ServerUnderTest, operator: Operator) -> str:
    assert operator.fleet("get", "devices", "-o", "name").out == ""
    return server.enrol("edge-1").name


def test_a_token_pins_the_ca_and_the_root_and_is_listed_without_its_secret(operator: Operator) -> None:
    token = operator.fleet("enroll", "token", "--label", "site=attic", "--ttl", "30m").out.strip()
    assert token.startswith("rs1.")
    assert {"site": "attic"} in [row["labels"] for row in operator.items("get", "tokens")]
    assert token.removeprefix("rs1.")[:40] not in operator.fleet("get", "tokens", "-o", "yaml").out


def test_the_same_release_twice_changes_nothing_and_other_content_is_a_conflict(operator: Operator) -> None:
    lock = (operator.folder / "fleet.lock").read_bytes()
    assert "released already, with exactly this content" in operator.fleet("release").err
    operator.write("compose.yaml", COMPOSE.replace("16m", "32m"))
    assert "use another version" in operator.fleet("release", status=Exit.CONFLICT).err
    operator.write("compose.yaml", COMPOSE)
    assert (operator.folder / "fleet.lock").read_bytes() == lock


def test_a_lock_above_the_server_or_unreadable_signs_nothing(operator: Operator) -> None:
    path = operator.folder / "fleet.lock"
    good = path.read_text()
    raised = json.dumps({**json.loads(good), "role_version": 99})
    for text in (raised, "", "{", '{"root_sha256": 1}', good.replace("release/shop", "release/other")):
        path.write_text(text)
        operator.write_app("1.0.9")
        said = operator.fleet("release", status=Exit.TRUST).err
        assert "fleet.lock" in said
        assert "next:" in said
        assert path.read_text() == text
    path.write_text(good)
    operator.write_app("1.0.0")


def test_a_key_that_is_not_delegated_is_refused(operator: Operator) -> None:
    operator.fleet("trust", "delegate", "other")
    operator.write_app("1.0.9")
    key = operator.config / "roadstead/trust/release-other.key"
    said = operator.fleet("release", "--key", str(key), status=Exit.TRUST).err
    assert "not signed by enough of its keys" in said
    operator.write_app("1.0.0")


def test_a_plan_is_shown_saved_and_applied_once(operator: Operator, lab_device: str) -> None:
    assert "+ shop 1.0.0" in operator.fleet("plan", "--exit-code", "--save", "p.json", status=Exit.CHANGES_PENDING).out
    said = operator.fleet("apply", status=Exit.USAGE)
    assert "--yes" in said.err
    assert "Applied to 1 device(s)" in operator.fleet("apply", "--plan", "p.json", "--yes").err
    assert "changed since this plan" in operator.fleet("apply", "--plan", "p.json", "--yes", status=Exit.CONFLICT).err
    assert operator.fleet("plan", "--exit-code").status == 0
    # It is away, so nothing was told to it yet; that is the rollout's business from now on.
    assert operator.items("get", "devices")[0]["desired_generation"] == 0
    assert "desired 0" in operator.fleet("describe", "device", lab_device).out
    (rollout,) = operator.items("rollout", "list")
    assert (rollout["state"], rollout["deferred"]) == ("complete", 1)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\0", ""])
def test_what_is_no_saved_plan_is_named(operator: Operator, text: str) -> None:
    operator.write("bad.json", text)
    said = operator.fleet("apply", "--plan", "bad.json", "--yes", status=Exit.OTHER).err
    assert "bad.json" in said
    assert "fleet plan --save" in said


def test_a_plan_that_cannot_be_saved_says_where(operator: Operator, lab_device: str) -> None:
    assert lab_device
    said = operator.fleet("plan", "--save", "nowhere/p.json", status=Exit.OTHER).err
    assert "nowhere/p.json: No such file or directory" in said


def test_waiting_ends_with_its_own_status_while_the_work_goes_on(server: ServerUnderTest, operator: Operator) -> None:
    device = server.enrol("edge-2")
    with device.online():
        device.report(0)
        said = operator.fleet("apply", "--yes", "--wait", "--timeout", "1", status=Exit.TIMED_OUT).err
    assert "1 s have passed" in said


LISTS = ("get fleets", "get tokens", "get events", "enroll list --all", "ctx list", "trust list")


@pytest.mark.parametrize("what", ["get devices", *LISTS])
def test_every_list_has_every_form(operator: Operator, lab_device: str, what: str) -> None:
    assert lab_device
    for form in ("table", "wide", "json", "yaml", "name"):
        out = operator.here(*what.split(), "-o", form).out
        if form == "json":
            assert json.loads(out)["apiVersion"] == "roadstead/v1"
        if form == "yaml":
            assert out.startswith("apiVersion: roadstead/v1\n")


def test_a_withdrawn_release_is_known_as_such_and_cannot_come_back(operator: Operator) -> None:
    operator.write_app("1.0.5")
    operator.fleet("release")
    usage = operator.fleet("withdraw", "shop@1.0.5", "--effect", "refuse", status=Exit.USAGE)
    assert "--yes" in usage.err
    unknown = operator.fleet("withdraw", "shop@7.7.7", "--effect", "stop", "--yes", status=Exit.NOT_FOUND).err
    assert "1.0.5" in unknown
    before = json.loads((operator.folder / "fleet.lock").read_text())
    done = operator.fleet("withdraw", "shop@1.0.5", "--effect", "refuse", "--reason", "leaks", "--yes")
    assert "no host starts it any more" in done.out
    after = json.loads((operator.folder / "fleet.lock").read_text())
    assert after["role_version"] == before["role_version"] + 1
    again = operator.fleet("withdraw", "shop@1.0.5", "--effect", "refuse", "--yes").err
    assert "was withdrawn before (refuse)" in again
    assert "hosts stop it" in operator.fleet("withdraw", "shop@1.0.5", "--effect", "stop", "--yes").out
    assert "was withdrawn" in operator.fleet("release", status=Exit.CONFLICT).err
    assert "no release 1.0.5" in operator.fleet("plan", status=Exit.CONFLICT).err
    operator.write_app("1.0.0")


def test_a_decommissioned_device_is_gone_for_good(server: ServerUnderTest, operator: Operator) -> None:
    device = server.enrol("attic-1")
    operator.fleet("device", "decommission", device.name, status=Exit.USAGE)
    assert "out of the fleet" in operator.fleet("device", "decommission", device.name, "--yes").err
    assert device.name not in operator.fleet("get", "devices", "-o", "name").out.split()
    operator.fleet("device", "decommission", device.name, "--yes", status=Exit.NOT_FOUND)
