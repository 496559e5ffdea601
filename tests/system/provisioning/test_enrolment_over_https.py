from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from provisioning_support import NOW, TUF_ROOT, Desk, HttpsFront, free_port, https_front, open_desk

from edge_daemon.layout import Layout
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.words import words
from provisioning.authority.ca import DeviceCa
from provisioning.device import identity
from provisioning.device.enrol import EnrolmentError, EnrolmentTrustError, Progress, Waiting, enrol
from provisioning.device.https import Pace, ServerRefusedError, ServerUnreachableError
from provisioning.device.identity import IdentityFolder
from provisioning.device.session import ServerClient

pytestmark = pytest.mark.usefixtures("front")


class Clock:
    """Time that passes only while somebody waits; `then` happens during the waits."""

    def __init__(self, *then: Callable[[], object]) -> None:
        self.now = 0.0
        self.then = list(then)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.then:
            self.then.pop(0)()

    def waiting(self, for_s: float = 600) -> Waiting:
        return Waiting(for_s, self.sleep, lambda: self.now, lambda: 0.5)


def test_a_host_enrols_at_once_with_a_token_that_says_so(desk: Desk, tmp_path: Path) -> None:
    done = enrol(desk.token(auto_approve=True), tmp_path / "state", "cam-1", host={"kernel": "6.1"})
    lay = Layout(tmp_path / "state", tmp_path / "run")
    assert (done.status, done.device_id) == ("approved", "cam-1")
    assert json.loads(lay.identity_json.read_bytes()) == {
        "device_id": "cam-1", "server_url": desk.url, "broker_host": "127.0.0.1", "broker_port": 8883,
    }  # fmt: skip
    assert lay.tuf_root.read_text() == TUF_ROOT
    assert lay.ca.read_text() == desk.ca.pem
    x509.load_pem_x509_certificate(lay.device_cert.read_bytes()).verify_directly_issued_by(desk.ca.certificate)
    assert {f.name: oct(f.stat().st_mode & 0o777) for f in lay.identity.iterdir()} == dict.fromkeys(
        ("device.key", "device.pem", "ca.pem", "root.json", "identity.json"), "0o600"
    )
    assert lay.identity.stat().st_mode & 0o777 == 0o700
    assert dict(desk.store.enrolments()[0].host) == {"kernel": "6.1"}


def test_both_ends_show_the_same_words_while_a_host_waits_for_approval(desk: Desk, tmp_path: Path) -> None:
    heard: list[Progress] = []
    clock = Clock(lambda: None, lambda: desk.desk.approve(heard[0].request_id, "ops1", NOW))
    done = enrol(desk.token(), tmp_path / "state", "cam-1", waiting=clock.waiting(), said=heard.append)
    assert [p.status for p in heard] == ["pending", "approved"]
    assert heard[0].words == desk.desk.rows()[0].words == words(done.fingerprint)


def test_a_host_that_does_not_wait_finishes_when_it_asks_again(desk: Desk, tmp_path: Path) -> None:
    token, state = desk.token(), tmp_path / "state"
    first = enrol(token, state, "cam-1")
    assert first.status == "pending"
    assert not IdentityFolder(state).exists()
    desk.desk.approve(first.request_id, "ops1", NOW)
    second = enrol(token, state, "cam-1")
    assert (second.status, second.request_id) == ("approved", first.request_id)


def test_a_rejected_host_is_told_so(desk: Desk, tmp_path: Path) -> None:
    token = desk.token()
    first = enrol(token, tmp_path / "state", "cam-1")
    desk.desk.reject(first.request_id, "ops1", NOW)
    with pytest.raises(EnrolmentError, match="the operator rejected this host"):
        enrol(token, tmp_path / "state", "cam-1")


def test_an_answer_that_is_lost_costs_no_second_use_of_the_token(desk: Desk, front: HttpsFront, tmp_path: Path) -> None:
    token = desk.token(auto_approve=True)
    front.dropped_answers = 3
    done = enrol(token, tmp_path / "state", "cam-1", waiting=Clock().waiting())
    assert done.status == "approved"
    assert len(desk.store.enrolments()) == 1


@pytest.mark.parametrize("killed_at", ["device.key", "device.pem", "ca.pem", "root.json", "identity.json", "rename"])
def test_an_enrolment_that_was_killed_anywhere_is_taken_up_again(
    desk: Desk, tmp_path: Path, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, state = desk.token(auto_approve=True), tmp_path / "state"
    write = replace_durably

    def dies(path: Path, data: bytes, mode: int = 0o600) -> None:
        write(path, data, mode)
        if path.name == killed_at:
            raise KeyboardInterrupt

    def dies_before_the_rename(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(identity, "replace_durably", dies)
        if killed_at == "rename":
            patched.setattr(identity, "rename_durably", dies_before_the_rename)
        with pytest.raises(KeyboardInterrupt):
            enrol(token, state, "cam-1")
    assert not IdentityFolder(state).exists()
    if killed_at in ("identity.json", "rename"):  # it was all there: it is put in place, and then is an identity
        with pytest.raises(EnrolmentError, match="has an identity already"):
            enrol(token, state, "cam-1")
    else:
        assert enrol(token, state, "cam-1").status == "approved"
    assert IdentityFolder(state).exists()
    assert len(desk.store.active_device_ids()) == 1


def test_an_identity_is_replaced_only_when_forced_and_then_whole(desk: Desk, tmp_path: Path) -> None:
    state = tmp_path / "state"
    enrol(desk.token(auto_approve=True), state, "cam-1")
    key = (state / "identity/device.key").read_bytes()
    with pytest.raises(EnrolmentError, match="has an identity already"):
        enrol(desk.token(auto_approve=True), state, "cam-1")
    assert (state / "identity/device.key").read_bytes() == key
    again = enrol(desk.token(auto_approve=True), state, "cam-1", force=True)
    assert again.device_id == "cam-1-2"
    assert (state / "identity/device.key").read_bytes() != key
    assert sorted(p.name for p in state.iterdir()) == ["identity"]


def test_a_forced_enrolment_that_is_pending_leaves_the_present_identity_in_use(desk: Desk, tmp_path: Path) -> None:
    state = tmp_path / "state"
    enrol(desk.token(auto_approve=True), state, "cam-1")
    before = {p.name: p.read_bytes() for p in (state / "identity").iterdir()}
    assert enrol(desk.token(), state, "cam-1", force=True).status == "pending"
    assert {p.name: p.read_bytes() for p in (state / "identity").iterdir()} == before


def test_a_server_whose_root_of_release_trust_is_not_the_pinned_one_gets_no_device(desk: Desk, tmp_path: Path) -> None:
    desk.root = '{"signed": {"_type": "root", "version": 1, "by": "somebody else"}}'
    with pytest.raises(EnrolmentTrustError, match="root of release trust is not the one"):
        enrol(desk.token(auto_approve=True), tmp_path / "state", "cam-1")
    assert not IdentityFolder(tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        pytest.param({"fingerprint": "0" * 64}, "about another key", id="another key"),
        pytest.param({"device_id": "other"}, "another name or purpose", id="another name"),
        pytest.param({"device_id": None}, "without all that belongs", id="no name"),
        pytest.param({"certificate_pem": "x"}, "not signed by its CA", id="no certificate"),
    ],
)
def test_an_approval_that_does_not_fit_is_refused(
    desk: Desk, front: HttpsFront, tmp_path: Path, forge: dict[str, str | None], said: str
) -> None:
    honest = front.answer

    def forged(_method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        status, answer = honest("POST", path, headers, body)
        return status, json.dumps({**json.loads(answer), **forge}).encode() if path == "/v1/enrol" else answer

    front.answer = forged  # type: ignore[method-assign]
    with pytest.raises(EnrolmentTrustError, match=said):
        enrol(desk.token(auto_approve=True), tmp_path / "state", "cam-1")
    assert not IdentityFolder(tmp_path / "state").exists()


def test_a_certificate_of_a_stranger_for_our_key_is_refused(desk: Desk, front: HttpsFront, tmp_path: Path) -> None:
    stranger = DeviceCa.create("lab", NOW)
    desk.desk._ca, front_ca = stranger, desk.ca
    assert desk.ca is front_ca
    with pytest.raises(EnrolmentTrustError, match="not signed by its CA"):
        enrol(desk.token(auto_approve=True), tmp_path / "state", "cam-1")


def test_an_unknown_token_gets_the_servers_words(desk: Desk, tmp_path: Path) -> None:
    desk_token = desk.token()
    unknown = type(desk_token)(desk.url, desk.ca.sha256, desk_token.root_sha256, "unknown0", desk_token.secret)
    with pytest.raises(ServerRefusedError, match="the token is unknown, used up, expired, or not yours"):
        enrol(unknown, tmp_path / "state", "cam-1")


def test_a_server_that_is_not_there_is_named(desk: Desk, tmp_path: Path) -> None:
    token = desk.token()
    nobody = type(token)(
        f"https://127.0.0.1:{free_port()}", token.ca_sha256, token.root_sha256, token.token_id, token.secret
    )
    with pytest.raises(ServerUnreachableError, match=r"for 127\.0\.0\.1:\d+: .*refused"):
        enrol(nobody, tmp_path / "state", "cam-1")


def client_of(desk: Desk, state: Path, pace: Pace = Pace()) -> ServerClient:  # noqa: B008
    key = IdentityFolder(state).final_key()
    return ServerClient(desk.url, "cam-1", (state / "identity/ca.pem").read_text(), key.sign, pace=pace)


@pytest.fixture
def enrolled(desk: Desk, tmp_path: Path) -> Path:
    enrol(desk.token(auto_approve=True), tmp_path / "state", "cam-1")
    return tmp_path / "state"


DIGEST = "sha256:" + "ab" * 32


def test_a_device_proves_itself_once_and_fetches_all_kinds_of_things(
    desk: Desk, front: HttpsFront, enrolled: Path
) -> None:
    front.files = {
        "/tuf/metadata/2.release/cam.json": b"role",
        "/tuf/targets/releases/cam/" + "ab" * 32 + ".1.9.0%2Bb1.json": b"target",
        "/v1/values/" + "ab" * 32: b"value",
        f"/v2/apps/cam/manifests/{DIGEST}": b"manifest",
        f"/v2/apps/cam/blobs/{DIGEST}": bytes(range(256)) * 1000,
    }
    front.files["/tuf/targets/releases/cam/" + "ab" * 32 + ".1.9.0+b1.json"] = b"target"
    with client_of(desk, enrolled) as client:
        assert client.get_metadata("2.release/cam", 100) == b"role"
        assert client.get_target("releases/cam/" + "ab" * 32 + ".1.9.0+b1.json", 100) == b"target"
        assert client.get_value("ab" * 32) == b"value"
        assert client.get_manifest("apps/cam", DIGEST) == b"manifest"
        with client.open_blob("apps/cam", DIGEST, 255_000) as blob:
            assert (blob.offset, blob.remaining) == (255_000, 1000)
            assert b"".join(iter(blob.read, b"")) == (bytes(range(256)) * 1000)[255_000:]
        assert json.loads(client.time_statement("A" * 22)) == {"nonce": "A" * 22}
    assert [path for _, path, _, _ in front.asked].count("/v1/device/session") == 1


def test_a_session_that_the_server_forgot_is_made_anew_once(desk: Desk, front: HttpsFront, enrolled: Path) -> None:
    front.files = {"/tuf/metadata/timestamp.json": b"{}"}
    with client_of(desk, enrolled) as client:
        assert client.get_metadata("timestamp", 100) == b"{}"
        front.sessions.clear()
        assert client.get_metadata("timestamp", 100) == b"{}"
    desk.desk.revoke("cam-1", NOW)
    with client_of(desk, enrolled) as client, pytest.raises(ServerRefusedError, match="not known") as caught:
        client.get_metadata("timestamp", 100)
    assert caught.value.status == 401


def test_what_is_not_there_and_what_is_too_long_are_told_apart(desk: Desk, front: HttpsFront, enrolled: Path) -> None:
    front.files = {"/tuf/metadata/1.root.json": b"x" * 101}
    with client_of(desk, enrolled) as client:
        with pytest.raises(ServerRefusedError, match="there is no such thing") as caught:
            client.get_metadata("2.root", 100)
        assert caught.value.status == 404
        with pytest.raises(Exception, match="101 bytes, at most 100 are allowed"):
            client.get_metadata("1.root", 100)
        front.files["/tuf/metadata/1.root.json"] = b"short"
        assert client.get_metadata("1.root", 100) == b"short"


def test_a_blob_given_up_in_the_middle_leaves_a_client_that_works(
    desk: Desk, front: HttpsFront, enrolled: Path
) -> None:
    front.files = {f"/v2/apps/cam/blobs/{DIGEST}": bytes(5_000_000), "/tuf/metadata/timestamp.json": b"{}"}
    with client_of(desk, enrolled) as client:
        for _ in range(3):
            with client.open_blob("apps/cam", DIGEST) as blob:
                assert len(blob.read(1000)) <= 1000
            assert client.get_metadata("timestamp", 100) == b"{}"


@pytest.mark.parametrize("name", ["../secret", "a/../b", "/etc/passwd", "a b", "a?x=1", "a#b", "", "a//b", ".hidden"])
def test_a_name_from_metadata_never_becomes_another_request(desk: Desk, enrolled: Path, name: str) -> None:
    with client_of(desk, enrolled) as client:
        with pytest.raises(Exception, match="not a path that we ask a server for"):
            client.get_target(name, 100)
        with pytest.raises(Exception, match="not a sha256 digest"):
            client.open_blob("apps/cam", name)


def test_a_host_whose_clock_is_decades_behind_enrols_and_fetches(tmp_path: Path) -> None:
    """To OpenSSL every certificate begins 35 years from now, as all do to a host that believes that it is 1970."""
    later = int(time.time()) + 35 * 365 * 86400
    with (
        open_desk(tmp_path / "later", DeviceCa.create("lab", later)) as desk,
        https_front(desk, tmp_path / "later", lambda: later) as front,
    ):
        front.files = {"/tuf/metadata/timestamp.json": b"{}"}
        assert enrol(desk.token(later, auto_approve=True), tmp_path / "state", "cam-1").status == "approved"
        with client_of(desk, tmp_path / "state") as client:
            assert client.get_metadata("timestamp", 100) == b"{}"


def test_dates_are_held_against_a_time_known_to_have_passed(desk: Desk, front: HttpsFront, enrolled: Path) -> None:
    front.files = {"/tuf/metadata/timestamp.json": b"{}"}
    ca, key = (enrolled / "identity/ca.pem").read_text(), IdentityFolder(enrolled).final_key()
    for floor, good in ((NOW, True), (NOW + 3 * 365 * 86400, False)):
        with ServerClient(desk.url, "cam-1", ca, key.sign, time_floor=floor) as client:
            if good:
                assert client.get_metadata("timestamp", 100) == b"{}"
            else:
                with pytest.raises(ServerUnreachableError, match="the server's certificate ended on"):
                    client.get_metadata("timestamp", 100)


def test_a_name_that_the_certificate_does_not_hold_is_refused(desk: Desk, front: HttpsFront, enrolled: Path) -> None:
    ca, key = (enrolled / "identity/ca.pem").read_text(), IdentityFolder(enrolled).final_key()
    port = front.server.server_address[1]
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    with (
        ServerClient(f"https://127.0.0.2:{port}", "cam-1", ca, key.sign) as client,
        pytest.raises(ServerUnreachableError),
    ):
        client.get_metadata("timestamp", 100)
