"""One suite for every store."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from server_support import (
    NOW,
    SPOOL,
    a_contact,
    a_desired,
    a_device,
    a_fleet,
    a_request,
    a_token,
    enrol,
    some_events,
)

from fleet_server.errors import ReadOnlyError, StoreError
from fleet_server.store import audit
from fleet_server.store.api import Store
from fleet_server.store.records import AuditEntry, Ingested, ManifestRow, Mark, Operator, ReportedRow
from fleet_server.store.rollout_records import (
    DecisionRow,
    MemberRow,
    PinRow,
    QuarantineRow,
    RolloutRow,
    VerbRow,
)
from fleet_server.store.sqlite import open_store
from provisioning.authority.records import Approval, RevokedCertificate

IMPLEMENTATIONS: dict[str, Callable[[Path], Store]] = {"sqlite": lambda folder: open_store(folder / "server.db")}


class Kept:
    """A store that can be closed and opened again over the same files."""

    def __init__(self, make: Callable[[Path], Store], folder: Path) -> None:
        self._make, self._folder = make, folder
        self.store = make(folder)

    def again(self) -> Store:
        self.store.close()
        self.store = self._make(self._folder)
        return self.store


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    made = Kept(IMPLEMENTATIONS[request.param], tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def store(kept: Kept) -> Store:
    return kept.store


def test_a_token_and_a_request_come_back_as_they_went_in_after_reopening(kept: Kept) -> None:
    token, request = a_token(auto_approve=True, device_id="cam-9"), a_request()
    kept.store.add_token(token)
    assert kept.store.admit(request, NOW) == request
    store = kept.again()
    assert store.token("tokenaaaa") == replace(token, uses_left=0)
    assert store.enrolment("requestaa") == request
    assert store.enrolments() == [request]
    assert store.tokens() == [replace(token, uses_left=0)]
    assert store.token("nosuchtoken") is None


def test_a_token_with_one_use_admits_one_key_and_a_retry_of_it(store: Store) -> None:
    store.add_token(a_token())
    first = store.admit(a_request("requestaa"), NOW)
    assert first is not None
    assert store.admit(a_request("requestbb"), NOW) == first
    assert store.admit(a_request("requestcc", fingerprint="e" * 64), NOW) is None
    assert len(store.enrolments()) == 1


def test_an_expired_token_admits_nobody(store: Store) -> None:
    store.add_token(a_token(expires=NOW))
    assert store.admit(a_request(), NOW) is None


def test_approval_makes_the_device_once(store: Store) -> None:
    device = enrol(store)
    assert store.device("cam-1") == device
    assert store.devices() == [device]
    store.add_token(a_token("tokenbbbb"))
    store.admit(a_request("requestbb", token_id="tokenbbbb", fingerprint="e" * 64), NOW)
    assert store.approve("requestbb", a_device(), "ops") is Approval.NAME_TAKEN
    assert store.approve("requestbb", a_device("cam-2"), "ops") is Approval.DONE
    assert store.approve("requestbb", a_device("cam-3"), "ops") is Approval.NOT_PENDING
    assert not store.reject("requestbb", "ops", NOW)
    assert store.active_device_ids() == ["cam-1", "cam-2"]


def test_a_revoked_device_keeps_its_name_and_all_its_certificates_are_listed(store: Store) -> None:
    old = enrol(store)
    new = replace(old, certificate_serial=5, fingerprint="e" * 64, certificate_pem="NEW", certificate_expires=NOW + 9)
    assert store.replace_certificate("cam-1", old.certificate_serial, new, NOW + 1)
    assert not store.replace_certificate("cam-1", old.certificate_serial, new, NOW + 2)
    assert store.device("cam-1") == new
    assert store.revoked_certificates() == []
    assert store.revoke("cam-1", NOW + 3)
    assert not store.revoke("cam-1", NOW + 4)
    assert store.active_device_ids() == []
    both = {RevokedCertificate(5, NOW + 3), RevokedCertificate(old.certificate_serial, NOW + 3)}
    assert set(store.revoked_certificates()) == both
    store.add_token(a_token("tokenbbbb"))
    store.admit(a_request("requestbb", token_id="tokenbbbb", fingerprint="d" * 64), NOW)
    assert store.approve("requestbb", a_device(), "ops") is Approval.NAME_TAKEN


def test_labels_of_an_active_device_can_be_replaced(store: Store) -> None:
    enrol(store)
    assert store.set_labels("cam-1", {"site": "lyon"})
    assert not store.set_labels("cam-2", {})
    assert store.devices()[0].labels == {"site": "lyon"}


def test_operators_are_found_by_the_hash_of_their_token_until_revoked(store: Store) -> None:
    operator = Operator("ops", "operator", "a" * 64, NOW)
    store.add_operator(operator)
    with pytest.raises(StoreError):
        store.add_operator(replace(operator, token_sha256="b" * 64))
    assert store.operator_by_token("a" * 64) == operator
    assert store.revoke_operator("ops", NOW)
    assert store.operator_by_token("a" * 64) is None
    assert store.operators() == [replace(operator, revoked_at=NOW)]


def test_fleets_are_replaced_and_removed_by_name(kept: Kept) -> None:
    kept.store.put_fleets([a_fleet("a"), a_fleet("b")], [])
    changed = a_fleet("a", "cam@2.0.0")
    kept.store.put_fleets([changed], ["b"])
    assert kept.again().fleets() == [changed]


def test_a_desired_state_is_stored_only_over_the_generation_that_was_expected(store: Store) -> None:
    enrol(store, "cam-1")
    enrol(store, "cam-2", fingerprint="e" * 64)
    assert store.marks(["cam-1", "cam-2", "nobody"]) == {"cam-1": Mark(), "cam-2": Mark()}
    assert store.put_desired([a_desired("cam-1"), a_desired("cam-2")], {"cam-1": 0, "cam-2": 0})
    assert not store.put_desired([a_desired("cam-1", 2), a_desired("cam-2", 2)], {"cam-1": 1, "cam-2": 0})
    assert store.desired("cam-1") == a_desired("cam-1")
    assert store.put_desired([a_desired("cam-1", 2)], {"cam-1": 1})
    assert store.desired_rows() == {"cam-1": a_desired("cam-1", 2), "cam-2": a_desired("cam-2")}
    assert store.marks(["cam-1"]) == {"cam-1": Mark(2, f"{2:064x}")}


def test_events_are_stored_once_and_counted_only_without_a_gap(kept: Kept) -> None:
    key = ("cam-1", SPOOL)
    assert kept.store.ingest(some_events(4, 5)) == {key: 0}
    assert kept.store.ingest(some_events(1, 2)) == {key: 2}
    assert kept.store.ingest(some_events(2, 3)) == {key: 5}
    assert kept.store.ingest(some_events(1, 2, 3, 4, 5)) == {key: 5}
    store = kept.again()
    assert sorted(e.event.seq for e in store.events("cam-1", 100)) == [1, 2, 3, 4, 5]
    assert store.spools() == {key: 5}
    assert [e.event.seq for e in store.events(None, 2)] == [3, 2]


def test_a_skipped_gap_counts_what_follows_it(store: Store) -> None:
    store.ingest(some_events(8, 9, 11))
    assert store.skip_to("cam-1", SPOOL, 7) == 9


def test_pruned_events_do_not_come_back_and_uncounted_ones_are_kept(store: Store) -> None:
    store.ingest(some_events(1, 2, 3, 5))
    assert store.prune_events(NOW + 1, 100) == 3
    assert store.ingest(some_events(1, 2, 3)) == {("cam-1", SPOOL): 3}
    assert [e.event.seq for e in store.events("cam-1", 10)] == [5]
    store.ingest(some_events(4, 6, 7))
    assert store.prune_events(0, 2) == 2
    assert len(store.events("cam-1", 10)) == 2


def test_contacts_keep_what_a_message_does_not_say_and_never_go_back_in_time(store: Store) -> None:
    store.ingest(a_contact(generation=3, sha256="a" * 64))
    store.ingest(a_contact(last_seen=None, online=False))
    store.ingest(a_contact(last_seen=NOW - 5, online=True))
    contact = store.contacts()["cam-1"]
    assert (contact.last_seen, contact.online, contact.said) == (NOW, True, Mark(3, "a" * 64))
    store.ingest(a_contact("cam-2"))
    assert store.contacts()["cam-2"].said is None


def test_the_newest_report_replaces_the_one_before_and_tells_the_platform(store: Store) -> None:
    enrol(store)
    assert store.platforms() == {"cam-1": "linux/amd64"}
    for document in (b'{"host":{}}', b'{"host":{"platform":"linux/arm64"}}'):
        store.ingest(Ingested(NOW, (), (ReportedRow("cam-1", NOW, document),)))
    assert store.reported("cam-1") == store.reported_rows()["cam-1"]
    row = store.reported("cam-1")
    assert row is not None
    assert row.document == b'{"host":{"platform":"linux/arm64"}}'
    assert store.platforms() == {"cam-1": "linux/arm64"}


def test_the_audit_log_is_a_chain(kept: Kept) -> None:
    assert kept.store.audit_head() == (0, audit.GENESIS)
    for n in range(3):
        kept.store.record(AuditEntry(NOW + n, "ops", "apply", "lab", {"n": n, "ü": [1]}))
    rows = list(kept.again().audit_rows())
    assert [row.seq for row in rows] == [1, 2, 3]
    assert audit.first_fault(rows, {}) is None
    assert kept.store.audit_head() == (3, rows[-1].hash)


def test_manifests_are_found_by_digest_and_tag(store: Store) -> None:
    row = ManifestRow("cam", f"sha256:{'a' * 64}", "application/json", 12)
    store.put_manifest(row, "1.0")
    store.put_manifest(replace(row, digest=f"sha256:{'b' * 64}"), "1.0")
    found = store.manifest("cam", "1.0")
    assert found is not None
    assert found.digest == f"sha256:{'b' * 64}"
    assert store.manifest("cam", row.digest) == row
    assert store.manifest("gw", row.digest) is None
    assert store.tags("cam") == ["1.0"]


def test_values_are_kept_by_hash(store: Store) -> None:
    store.put_value("a" * 64, b"x")
    store.put_value("a" * 64, b"x")
    assert store.value("a" * 64) == b"x"
    assert store.value("b" * 64) is None


def test_a_transaction_that_fails_leaves_nothing_and_reads_its_own_writes(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            store.put_fleets([a_fleet()], [])
            store.record(AuditEntry(NOW, "ops", "apply", "lab", {}))
            assert len(store.fleets()) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.fleets() == []
    assert store.audit_head()[0] == 0


def test_while_writes_are_refused_nothing_changes_and_reading_goes_on(store: Store) -> None:
    store.put_fleets([a_fleet()], [])
    store.refuse_writes(refuse=True)
    with pytest.raises(ReadOnlyError):
        store.put_fleets([], ["lab"])
    with pytest.raises(ReadOnlyError):
        store.ingest(some_events(1))
    assert len(store.fleets()) == 1
    store.refuse_writes(refuse=False)
    store.put_fleets([], ["lab"])
    assert store.fleets() == []


def test_threads_share_the_store(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(20):
                store.ingest(some_events(n + 1, name=f"cam-{number}"))
                store.record(AuditEntry(NOW, f"ops{number}", "x", "y", {"n": n}))
                store.events(None, 10)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.spools() == {(f"cam-{n}", SPOOL): 20 for n in range(4)}
    assert audit.first_fault(store.audit_rows(), {}) is None
    assert store.audit_head()[0] == 80


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    path.write_bytes(b"not a database at all, and long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(path)
    assert path.read_bytes() == before


def test_sqlite_syncs_fully_and_keeps_secrets_to_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path / "server.db")
    store.add_token(a_token())
    writer: sqlite3.Connection = store._writer.conn  # type: ignore[attr-defined]
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())
    store.close()


def a_rollout(name: str = "r-AAAAA", **over: object) -> RolloutRow:
    fields = {
        "rollout_id": name, "fleet": "lab", "app": "cam", "created_at": NOW, "change": b"{}", "record": b"{}",
        "state": "running",
    }  # fmt: skip
    return RolloutRow(**{**fields, **over})  # type: ignore[arg-type]


def test_rollouts_come_back_in_the_order_in_which_they_were_made(kept: Kept) -> None:
    for row in (a_rollout("r-BBBBB"), a_rollout("r-AAAAA"), a_rollout("r-CCCCC", app="gw")):
        kept.store.put_rollout(row)
    kept.store.put_rollout(replace(a_rollout("r-BBBBB"), record=b"[]", state="complete", closed=True, change=b"other"))
    store = kept.again()
    assert [(r.rollout_id, r.seq) for r in store.rollouts()] == [("r-BBBBB", 1), ("r-AAAAA", 2), ("r-CCCCC", 3)]
    assert [r.rollout_id for r in store.rollouts(open_only=True)] == ["r-AAAAA", "r-CCCCC"]
    assert [r.rollout_id for r in store.newest_rollouts()] == ["r-AAAAA", "r-CCCCC"]
    one = store.rollout("r-BBBBB")
    assert one is not None
    assert (one.change, one.record, one.state, one.closed) == (b"{}", b"[]", "complete", True)
    assert store.rollout("r-NONE0") is None


def test_members_of_a_rollout_are_replaced_dropped_and_named_by_phase(kept: Kept) -> None:
    rows = [MemberRow("r-AAAAA", f"cam-{n}", "queued", b"[1]", None) for n in (2, 1, 3)]
    kept.store.put_members(rows)
    kept.store.put_members([MemberRow("r-AAAAA", "cam-3", "left-out", b"[2]", "{}")])
    kept.store.put_members([MemberRow("r-BBBBB", "cam-3", "planned")])
    kept.store.drop_members("r-AAAAA", ["cam-2", "nobody"])
    store = kept.again()
    assert store.members("r-AAAAA") == [rows[1], MemberRow("r-AAAAA", "cam-3", "left-out", b"[2]", "{}")]
    assert store.member_names("r-AAAAA", "left-out") == {"cam-1"}
    assert store.member_names("r-AAAAA", "") == {"cam-1", "cam-3"}


def test_what_was_asked_and_decided_stays(store: Store) -> None:
    verb = VerbRow("r-AAAAA", 1, NOW, "start", "ops", wave="canary", reason="because")
    store.put_verb(verb)
    decided = [DecisionRow("r-AAAAA", NOW + n, "wave", "canary", f"opened {n}") for n in range(3)]
    store.put_decisions(decided)
    store.put_decisions([DecisionRow("r-BBBBB", NOW, "wave", "", "")])
    assert store.verbs("r-AAAAA") == [verb]
    assert store.decisions("r-AAAAA", 2) == decided[1:]
    with pytest.raises(sqlite3.IntegrityError):
        store.put_verb(verb)


def test_the_first_reason_of_a_quarantine_stays_until_it_is_lifted(store: Store) -> None:
    first = QuarantineRow("cam", "1.9.0", NOW, "r-AAAAA", "it crashed")
    store.put_quarantine(first)
    store.put_quarantine(replace(first, reason="another"))
    assert store.quarantines() == [first]
    assert [store.lift_quarantine("cam", "1.9.0") for _ in range(2)] == [True, False]
    assert store.quarantines() == []


def test_a_pin_is_one_for_each_app_of_a_device(store: Store) -> None:
    pin = PinRow("cam-1", "cam", "1.9.0", "ops", NOW, 0, "why")
    store.put_pin(pin)
    store.put_pin(replace(pin, until=NOW + 5))
    assert store.pins() == [replace(pin, until=NOW + 5)]
    assert [store.drop_pin("cam-1", "cam") for _ in range(2)] == [True, False]


def test_all_that_is_known_of_a_device_is_one_row(store: Store) -> None:
    for name in ("cam-1", "cam-2", "cam-3"):
        enrol(store, name, fingerprint=name[-1] * 64)
    store.revoke("cam-3", NOW)
    store.put_desired([a_desired("cam-1", 3)], {"cam-1": 0})
    store.ingest(a_contact("cam-1", 3, "a" * 64))
    one, two = sorted(store.watched())
    assert (one.device_id, one.generation, one.said_generation, one.last_seen) == ("cam-1", 3, 3, NOW)
    assert (two.device_id, two.generation, two.last_seen, two.document) == ("cam-2", None, None, None)
    assert [row.device_id for row in store.watched(["cam-2", "cam-3"])] == ["cam-2"]


def test_since_when_a_device_is_connected_without_a_break(store: Store) -> None:
    enrol(store)

    def seen(at: int, *, online: bool) -> int | None:
        contact = a_contact(online=online, last_seen=at).contacts[0]
        store.ingest(Ingested(at, (contact,)))
        return store.watched()[0].online_since

    assert seen(NOW, online=True) == NOW
    assert seen(NOW + 10, online=True) == NOW
    assert seen(NOW + 20, online=False) == NOW
    assert seen(NOW + 30, online=True) == NOW + 30


def test_a_thread_that_only_reads_cannot_write_while_others_can(store: Store) -> None:
    with store.only_reading():
        with pytest.raises(ReadOnlyError):
            store.put_rollout(a_rollout())
        other = threading.Thread(target=store.put_rollout, args=(a_rollout("r-BBBBB"),))
        other.start()
        other.join()
    store.put_rollout(a_rollout())
    assert [r.rollout_id for r in store.rollouts()] == ["r-BBBBB", "r-AAAAA"]
