from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_support import NOW, a_contact, a_fleet, change, enrol, release_facts

from fleet_protocol.documents.desired import DESIRED_TYPE, DesiredState
from fleet_protocol.documents.device import Reported
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import FileSigner, generate_ed25519
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES
from fleet_server.controller.controller import Controller
from fleet_server.controller.desk import Desk
from fleet_server.director import LIFE_S, RENEW_S, Director
from fleet_server.errors import ConflictError, ReadOnlyError, RefusedError
from fleet_server.store.api import Store
from fleet_server.store.records import Contact, Ingested, Mark, ReportedRow
from fleet_server.store.sqlite import open_store


class Bench:
    """A director over a real store with two devices of site lab."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = open_store(folder / "server.db")
        generate_ed25519(folder / "director.key")
        self.signer = FileSigner(folder / "director.key")
        self.releases = {("cam", "1.9.0"): release_facts(), ("cam", "2.0.0"): release_facts("cam", "2.0.0", 2)}
        self.changed: list[str] = []
        self.director = Director(self.store, self.signer, lambda: self.releases, self.changed.extend)
        self.controller = Controller(self.store, self.director, lambda: self.releases)
        self.desk = Desk(self.controller)
        enrol(self.store, "cam-1")
        enrol(self.store, "cam-2", fingerprint="e" * 64)
        for name in ("cam-1", "cam-2"):
            self.runs(name)

    def runs(self, name: str, release: str = "") -> None:
        """The device reports, in step with what it was told."""
        row = self.store.desired(name)
        told = {"generation": row.generation, "sha256": row.sha256} if row else {}
        apps = [{"app": "cam", "state": "ok", "release": release, "desired_release": release}] if release else []
        said = Reported.from_value({"device_id": name, "boot_id": "b", "at": NOW, "apps": apps, **told})
        contact = Contact(name, NOW, online=True, said=Mark(said.generation, said.sha256))
        self.store.ingest(Ingested(NOW, (contact,), (ReportedRow(name, NOW, said.to_bytes()),)))
        self.controller.heard([name])

    def all_run(self, release: str) -> None:
        for name in ("cam-1", "cam-2"):
            self.runs(name, release)
        self.controller.tick(NOW)

    def apply(self, *run: str, now: int = NOW) -> dict[str, int]:
        plan = self.director.plan(change(a_fleet("lab", *run)))
        return dict(self.desk.apply(plan, "ops", now).generations)

    def state(self, name: str = "cam-1") -> DesiredState:
        row = self.store.desired(name)
        assert row is not None
        payload = dsse.verify(row.envelope, DESIRED_TYPE, (self.signer.public,), max_bytes=MAX_DESIRED_BYTES)
        assert payload == row.payload
        return DesiredState.parse(payload)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_planning_writes_nothing_at_all(bench: Bench) -> None:
    bench.store.refuse_writes(refuse=True)
    plan = bench.director.plan(change(a_fleet("lab")))
    assert len(plan.devices) == 2
    with pytest.raises(ReadOnlyError):
        bench.desk.apply(plan, "ops", NOW)
    assert bench.changed == []


def test_each_apply_is_the_next_generation_signed_for_one_device(bench: Bench) -> None:
    assert bench.apply("cam@1.9.0") == {"cam-1": 1, "cam-2": 1}
    bench.all_run("1.9.0")
    assert bench.apply("cam@2.0.0") == {"cam-1": 2, "cam-2": 2}
    state = bench.state()
    assert (state.device_id, state.generation, state.issued_at, state.expires) == ("cam-1", 2, NOW, NOW + LIFE_S)
    assert [a.release for a in state.apps] == ["2.0.0"]
    assert bench.changed == ["cam-1", "cam-2"] * 2
    assert [row.entry.who for row in bench.store.audit_rows() if row.entry.action == "apply"] == ["ops", "ops"]


def test_going_back_on_purpose_is_a_new_generation(bench: Bench) -> None:
    for release in ("1.9.0", "2.0.0"):
        bench.apply(f"cam@{release}")
        bench.all_run(release)
    assert bench.apply("cam@1.9.0") == {"cam-1": 3, "cam-2": 3}


def test_a_plan_of_an_older_world_is_a_conflict_and_changes_nothing(bench: Bench) -> None:
    plan = bench.director.plan(change(a_fleet("lab")))
    bench.store.set_labels("cam-2", {"site": "lyon"})
    with pytest.raises(ConflictError, match="changed since this plan"):
        bench.desk.apply(plan, "ops", NOW)
    assert (bench.store.desired_rows(), bench.store.fleets()) == ({}, [])


def test_an_edited_plan_is_a_conflict(bench: Bench) -> None:
    plan = bench.director.plan(change(a_fleet("lab")))
    for edited in (
        plan.model_copy(update={"devices": plan.devices[:1]}),
        plan.model_copy(update={"request": change(a_fleet("lab", "cam@2.0.0"))}),
        plan.model_copy(update={"world": "0" * 64}),
    ):
        with pytest.raises(ConflictError):
            bench.desk.apply(edited, "ops", NOW)


def test_refusals_that_were_cut_out_of_a_plan_are_still_there(bench: Bench) -> None:
    plan = bench.director.plan(change(a_fleet("lab", "cam@9.9.9")))
    with pytest.raises(RefusedError, match=r"there is no release 9\.9\.9"):
        bench.desk.apply(plan.model_copy(update={"refusals": ()}), "ops", NOW)


def test_a_change_of_labels_signs_nothing(bench: Bench) -> None:
    bench.apply("cam@1.9.0")
    before = bench.store.desired_rows()
    bench.store.set_labels("cam-1", {"site": "lyon"})
    assert bench.director.renew(NOW) == 0
    assert bench.store.desired_rows() == before


def test_the_next_generation_is_above_what_the_device_has_accepted(bench: Bench) -> None:
    bench.store.ingest(a_contact(generation=7, sha256="a" * 64))
    assert bench.apply("cam@1.9.0") == {"cam-1": 8, "cam-2": 1}


def test_overtaking_repeats_what_was_wanted_with_a_newer_number(bench: Bench) -> None:
    bench.apply("cam@1.9.0")
    assert bench.director.overtake({"cam-1": Mark(1, bench.store.desired_rows()["cam-1"].sha256)}, NOW) == 0
    assert bench.director.overtake({"cam-1": Mark(5, "a" * 64), "nobody": Mark(5, "a" * 64)}, NOW + 1) == 1
    assert (bench.state().generation, [a.release for a in bench.state().apps]) == (6, ["1.9.0"])
    assert bench.state("cam-2").generation == 1


def test_what_was_not_accepted_is_signed_anew_before_it_expires(bench: Bench) -> None:
    bench.apply("cam@1.9.0")
    rows = bench.store.desired_rows()
    bench.store.ingest(a_contact("cam-2", 1, rows["cam-2"].sha256))
    late = NOW + LIFE_S - RENEW_S
    assert bench.director.renew(late) == 0
    assert bench.director.renew(late + 1) == 1
    assert bench.state().generation == 2
    assert bench.state().expires == late + 1 + LIFE_S
    assert bench.state("cam-2").generation == 1
    bench.store.revoke("cam-1", NOW)
    assert bench.director.renew(late + LIFE_S) == 0
