"""The controller over a real store: waves, revert, quarantine, restarts, devices that are away, pins, labels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from controller_support import Field
from server_support import a_fleet

from fleet_server import look
from fleet_server.errors import ConflictError, NotFoundError, ReadOnlyError, RefusedError
from fleet_server.store.records import Contact
from fleet_server.store.rollout_records import PinRow

CANARY = {
    "waves": [{"name": "canary", "devices": 1}, {"name": "rest", "rest": True}],
    "on_fail": "revert",
    "aborts": [{"share": 0.0}],
}
NAMES = ("cam-1", "cam-2", "cam-3")


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    made = Field(tmp_path, *NAMES)
    made.apply(made.fleet("1.8.2"))
    made.all_say(*NAMES)
    made.later(60)
    yield made
    made.store.close()


def canary_of(field: Field) -> str:
    given = [name for name in NAMES if field.release(name) == "1.9.0"]
    assert len(given) == 1
    return given[0]


def test_an_apply_without_a_policy_is_one_wave_and_completes(field: Field) -> None:
    (one,) = field.store.rollouts()
    assert (one.state, one.fleet, one.app) == ("complete", "lab", "cam")
    assert [field.release(name) for name in NAMES] == ["1.8.2"] * 3
    assert field.view(one.rollout_id).done == 3


def test_the_rest_waits_for_the_canary(field: Field) -> None:
    applied = field.apply(field.fleet(rollout=CANARY))
    canary = canary_of(field)
    assert applied.generations == {canary: 2}
    assert applied.devices == 3
    field.says(canary, "trial")
    field.later(30)
    assert canary_of(field) == canary
    field.says(canary)
    field.later()
    assert [field.release(name) for name in NAMES] == ["1.9.0"] * 3
    field.all_say(*NAMES)
    assert field.view(applied.rollouts[0]).state == "complete"


def test_a_bad_release_stops_at_the_canary_goes_back_and_is_quarantined_everywhere(field: Field) -> None:
    (name,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    field.says(canary, "bad", runs="1.8.2", code="oom", reason="web was killed for memory")
    field.later()
    assert [field.release(n) for n in NAMES] == ["1.8.2"] * 3
    field.says(canary)
    field.later()
    view = field.view(name)
    assert (view.state, view.quarantined) == ("reverted", True)
    assert [(q.app, q.release) for q in field.store.quarantines()] == [("cam", "1.9.0")]
    other = a_fleet("other", "cam@1.9.0", select={"site": "elsewhere"})
    assert "is in quarantine" in field.plan(other).refusals[0].sentence
    with pytest.raises(RefusedError):
        field.apply(field.fleet(rollout=CANARY))
    # Another change of something else brings it to nobody by the way.
    assert field.plan(a_fleet("gws", "gw@1.9.0", select={"role": "gw"})).devices == ()
    field.desk.lift("cam", "1.9.0", "ops", "mended", field.now)
    assert field.store.quarantines() == []
    assert field.plan(field.fleet(rollout=CANARY)).refusals == ()


def test_taking_back_does_not_hold_the_newer_release_against_the_one_before_it(tmp_path: Path) -> None:
    field = Field(tmp_path, *NAMES)
    (first,) = field.apply(field.fleet("1.8.2", rollout=CANARY)).rollouts
    for _ in range(2):
        field.all_say(*NAMES)
    (second,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    field.says(canary, "bad", runs="1.8.2", code="oom", reason="web was killed for memory")
    field.later()
    assert (field.view(first).state, field.view(second).state) == ("complete", "reverted")
    assert [field.release(n) for n in NAMES] == ["1.8.2"] * 3
    field.store.close()


def test_a_device_that_is_away_is_deferred_and_catches_up(field: Field) -> None:
    field.gone("cam-3")
    field.later(400)
    for name in NAMES[:2]:
        field.says(name)
    (rollout,) = field.apply(field.fleet()).rollouts
    field.all_say(*NAMES[:2])
    view = field.view(rollout)
    assert (view.state, view.deferred, view.reason) == ("complete", 1, "1 deferred")
    assert field.release("cam-3") == "1.8.2"
    field.later(3000)
    field.says("cam-3")
    field.later()
    assert field.release("cam-3") == "1.9.0"


def test_what_was_reverted_reaches_a_device_that_is_away(field: Field) -> None:
    (rollout,) = field.apply(field.fleet()).rollouts
    field.all_say(*NAMES)
    field.gone("cam-2")
    field.ask(rollout, "revert", reason="customers complain")
    assert [field.release(n) for n in NAMES] == ["1.8.2"] * 3  # signed now, fetched when it is back
    field.later(5000)
    for name in ("cam-1", "cam-3"):
        field.says(name)
    field.later()
    assert field.view(rollout).state == "reverted"
    field.says("cam-2")
    field.later()
    assert field.view(rollout).waves[0].reverted == 3


@pytest.mark.parametrize("after", range(6))
def test_a_restart_at_any_point_changes_no_decision(field: Field, after: int, tmp_path: Path) -> None:
    (rollout,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    steps = [
        lambda: field.later(10),
        lambda: field.says(canary, "trial"),
        lambda: field.says(canary),
        lambda: field.later(5),
        lambda: field.all_say(*NAMES),
        lambda: field.later(10),
    ]
    for number, step in enumerate(steps):
        if number == after:
            field.restart()
        step()
        field.later()
    assert field.view(rollout).state == "complete"
    assert [field.told(n).generation for n in NAMES] == [2, 2, 2]  # type: ignore[union-attr]  # nobody was told twice


def test_a_saved_plan_is_applied_exactly_or_refused(field: Field) -> None:
    plan = field.plan(field.fleet(rollout=CANARY))
    assert [(w.name, w.devices) for w in plan.rollouts[0].waves] == [("canary", 1), ("rest", 2)]
    assert (plan.rollouts[0].before, plan.rollouts[0].download_bytes) == (("1.8.2",), 27)
    applied = field.desk.apply(plan, "ops", field.now)
    assert applied.rollouts == (plan.rollouts[0].rollout_id,)
    with pytest.raises(ConflictError, match="changed since this plan"):
        field.desk.apply(plan, "ops", field.now)


def test_planning_cannot_write(field: Field) -> None:
    with field.store.only_reading():
        plan = field.desk.plan(field.plan(field.fleet()).request, field.now)
        with pytest.raises(ReadOnlyError):
            field.desk.apply(plan, "ops", field.now)
    assert field.desk.apply(plan, "ops", field.now).devices == 3


def test_a_plan_says_who_would_wait_and_why(field: Field) -> None:
    field.gone("cam-1")
    field.later(200)
    pin = PinRow("cam-2", "cam", "1.8.2", "ops", field.now, 0, "a customer watches")
    field.desk.pin(pin)
    blocked = {b.device_id: b.cause.code for b in field.plan(field.fleet()).rollouts[0].blocked}
    assert blocked == {"cam-1": "quiet", "cam-2": "left-out"}


def test_a_pinned_app_stays_until_its_pin_is_over(field: Field) -> None:
    field.desk.pin(PinRow("cam-2", "cam", "", "ops", field.now, field.now + 600, "a customer watches"))
    (rollout,) = field.apply(field.fleet()).rollouts
    assert [field.release(n) for n in NAMES] == ["1.9.0", "1.8.2", "1.9.0"]
    field.all_say(*NAMES)
    assert field.view(rollout).state == "complete"
    assert field.plan(a_fleet("gws", "gw@1.9.0", select={"role": "gw"})).devices == ()
    field.later(599)
    field.says("cam-2")
    assert field.release("cam-2") == "1.8.2"
    field.later(1)
    assert field.release("cam-2") == "1.9.0"
    with pytest.raises(NotFoundError):
        field.desk.unpin("cam-2", "cam", "ops", field.now)


def test_a_pin_names_what_is_there(field: Field) -> None:
    with pytest.raises(ConflictError, match=r"it was told to run 1\.8\.2"):
        field.desk.pin(PinRow("cam-2", "cam", "2.0.0", "ops", field.now, 0, ""))


def test_a_newer_rollout_waits_until_the_older_one_is_done_with_a_device(field: Field) -> None:
    (old,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    (new,) = field.apply(field.fleet("2.0.0")).rollouts
    others = [n for n in NAMES if n != canary]
    assert [field.release(n) for n in others] == ["2.0.0"] * 2
    assert field.release(canary) == "1.9.0"
    assert field.view(old).state == "complete"
    field.says(canary)
    field.later()
    assert field.release(canary) == "2.0.0"
    field.all_say(*NAMES)
    assert field.view(new).state == "complete"


def test_going_back_in_the_file_ends_the_rollout_under_way(field: Field) -> None:
    (old,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    field.says(canary)
    field.apply(field.fleet("1.8.2"))
    field.later()
    field.all_say(*NAMES)
    field.later(100)
    assert [field.release(n) for n in NAMES] == ["1.8.2"] * 3
    assert field.store.quarantines() == []
    assert field.view(old).state == "complete"


def test_a_label_moves_a_device_only_through_a_plan(field: Field) -> None:
    oslo = a_fleet("oslo", "cam@1.9.0", select={"site": "oslo"})
    field.apply(oslo)
    field.store.set_labels("cam-1", {"site": "oslo"})
    field.controller.heard(["cam-1"])
    field.later(100)
    assert field.release("cam-1") == "1.8.2"
    plan = field.plan(oslo)
    assert [d.device_id for d in plan.devices] == ["cam-1"]
    field.desk.apply(plan, "ops", field.now)
    assert field.release("cam-1") == "1.9.0"


def test_a_device_that_moves_joins_the_rollout_under_way_at_its_gate(field: Field) -> None:
    (rollout,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    from server_support import enrol

    enrol(field.store, "cam-4", fingerprint="e" * 64)
    field.says("cam-4")
    plan = field.plan(field.fleet(rollout=CANARY))
    assert [(r.rollout_id, r.joins, r.devices) for r in plan.rollouts] == [(rollout, True, 1)]
    field.desk.apply(plan, "ops", field.now)
    assert field.release("cam-4") == ""
    field.says(canary)
    field.later()
    assert field.release("cam-4") == "1.9.0"


def test_a_removed_fleet_takes_its_app_away_and_a_change_of_settings_is_told_at_once(field: Field) -> None:
    field.apply(field.fleet("1.8.2", settings={"report_every_s": 30}))
    told = field.told("cam-1")
    assert told is not None
    assert (told.settings.report_every_s, told.generation) == (30, 2)
    gone = field.plan(a_fleet("gws", "gw@1.9.0", select={"role": "gw"}), remove=("lab",))
    field.desk.apply(gone, "ops", field.now)
    assert [field.release(n) for n in NAMES] == ["", "", ""]


def test_a_change_of_configuration_alone_is_a_rollout_of_its_own(field: Field) -> None:
    config = {"cam": {"SITE": "{label.site}"}}
    (rollout,) = field.apply(field.fleet("1.8.2", config=config, rollout=CANARY)).rollouts
    changed = [n for n in NAMES if field.told(n).generation == 2]  # type: ignore[union-attr]
    assert len(changed) == 1
    field.says(changed[0], "bad", reason="web was not healthy", code="unhealthy")
    field.later()
    assert field.view(rollout).state in ("reverting", "reverted")
    # The version itself is in no quarantine: it runs well with what was configured before.
    assert [q.release.startswith("1.8.2~") for q in field.store.quarantines()] == [True]
    assert field.plan(field.fleet("1.8.2")).refusals == ()


def test_a_rollout_may_wait_for_somebody_to_start_it(field: Field) -> None:
    applied = field.apply(field.fleet(), start=False)
    field.later(100)
    assert field.view(applied.rollouts[0]).state == "planned"
    assert [field.release(n) for n in NAMES] == ["1.8.2"] * 3
    field.restart()
    field.ask(applied.rollouts[0], "start")
    assert [field.release(n) for n in NAMES] == ["1.9.0"] * 3


def test_a_verb_that_cannot_be_done_is_a_conflict_in_the_rollouts_own_words(field: Field) -> None:
    (one,) = field.store.rollouts()
    with pytest.raises(ConflictError, match="the rollout is complete, so it cannot be asked to pause"):
        field.ask(one.rollout_id, "pause")
    with pytest.raises(NotFoundError):
        field.ask("r-NONE", "pause")


def test_a_device_that_is_revoked_leaves_the_rollout(field: Field) -> None:
    (rollout,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    other = next(n for n in NAMES if n != canary)
    field.store.revoke(other, field.now)
    field.controller.heard([other])
    field.later()
    assert field.view(rollout).devices == 2
    assert [m.device_id for m in field.store.members(rollout)] == sorted(set(NAMES) - {other})


def test_a_restored_backup_leaves_alone_what_runs_and_apply_takes_it_over(field: Field, tmp_path: Path) -> None:
    field.store.close()
    shutil.copy(tmp_path / "server.db", tmp_path / "backup.db")
    field.open()
    field.apply(field.fleet("1.9.0"))
    field.all_say(*NAMES)
    ran = {name: field.store.reported(name) for name in NAMES}
    claims = {name: field.store.contacts()[name].said for name in NAMES}
    field.store.close()
    for companion in ("server.db-wal", "server.db-shm"):
        (tmp_path / companion).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "server.db")
    field.open()
    for name, row in ran.items():
        assert row is not None
        field.hear(name, Contact(name, field.now, online=True, said=claims[name]), row.document)
    assert field.director.overtake({n: c for n, c in claims.items() if c}, field.now) == 0
    field.later()
    assert [field.release(n) for n in NAMES] == ["1.8.2"] * 3  # not told again: it would replace what runs
    view = look.all_devices(field.store, field.now)[0]
    assert (view.state, "which this server does not know" in view.why) == ("degraded", True)
    field.apply(field.fleet("1.9.0"))
    assert [(field.release(n), field.told(n).generation) for n in NAMES] == [("1.9.0", 3)] * 3  # type: ignore[union-attr]
    field.all_say(*NAMES)
    assert field.store.rollouts()[-1].state == "complete"


def test_an_error_in_the_middle_leaves_nothing_half_done(field: Field) -> None:
    (rollout,) = field.apply(field.fleet(rollout=CANARY)).rollouts
    canary = canary_of(field)
    field.says(canary)
    field.store.refuse_writes(refuse=True)
    with pytest.raises(ReadOnlyError):
        field.controller.tick(field.now)
    field.store.refuse_writes(refuse=False)
    assert [field.release(n) for n in NAMES].count("1.9.0") == 1
    field.later()
    assert [field.release(n) for n in NAMES] == ["1.9.0"] * 3
    assert field.view(rollout).state == "running"
