from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_support import a_fleet, a_world, change, release_facts

from fleet_protocol.documents.desired import DesiredState, Settings, ValueByDigest
from fleet_protocol.documents.fleet import AppChange, FleetSpec, PlanRequest
from fleet_protocol.trust import dsse
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES
from fleet_server.plan import compute
from fleet_server.plan_world import Computed, DeviceFacts, World

DECLARED = {
    "BITRATE": {"service": "web", "type": "integer", "env": "BITRATE"},
    "SITE": {"service": "web", "type": "string", "env": "SITE", "pattern": "[a-z-]{1,32}"},
    "page": {"service": "web", "type": "text", "file": "/etc/page", "max_bytes": 65536},
}
CAM = release_facts("cam", "1.9.0", config=DECLARED)
CAM2 = release_facts("cam", "2.0.0", 2, config=DECLARED)
GW = release_facts("gw", "1.0.0")
LAB = DeviceFacts("cam-1", {"site": "lab"})


def planned(world: World, request: PlanRequest) -> Computed:
    return compute(world, request)


def sentences(computed: Computed) -> list[str]:
    return [refusal.sentence for refusal in computed.plan.refusals]


def applied(world: World, computed: Computed) -> World:
    """The world after the plan was applied."""
    devices = tuple(
        replace(d, generation=d.generation + 1, apps=state.apps, settings=state.settings)
        if (state := computed.intended.get(d.device_id))
        else d
        for d in world.devices
    )
    return World(computed.fleets, devices, world.releases)


def test_a_new_fleet_brings_its_app_to_the_devices_it_selects() -> None:
    world = a_world(devices=(LAB, DeviceFacts("cam-2", {"site": "lyon"})), releases=(CAM,))
    computed = planned(world, change(a_fleet()))
    assert [d.device_id for d in computed.plan.devices] == ["cam-1"]
    change_of_it = AppChange(
        app="cam", before=None, after="1.9.0", config_changed=False, download_bytes=9, disk_bytes=9
    )
    assert computed.plan.devices[0].changes == (change_of_it,)
    assert (computed.plan.unchanged, computed.plan.refusals) == (1, ())
    assert [(a.app, a.release, a.sha256) for a in computed.intended["cam-1"].apps] == [("cam", "1.9.0", CAM.sha256)]


def test_a_device_runs_the_union_of_its_fleets_and_loses_what_a_removed_fleet_ran() -> None:
    world = a_world(releases=(CAM, GW), devices=(LAB,))
    world = applied(world, planned(world, change(a_fleet("a", "cam@1.9.0"), a_fleet("b", "gw@1.0.0"))))
    assert [a.app for a in world.devices[0].apps] == ["cam", "gw"]
    computed = planned(world, change(a_fleet("a", "cam@1.9.0"), remove=("b",)))
    told = AppChange(app="gw", before="1.0.0", after=None, config_changed=False, download_bytes=0)
    assert computed.plan.devices[0].changes == (told,)


def test_a_fleet_for_all_selects_all_and_an_empty_selector_nobody() -> None:
    world = a_world(releases=(CAM,), devices=(LAB, DeviceFacts("cam-2", {})))
    assert len(planned(world, change(a_fleet(select={}, select_all=True))).plan.devices) == 2
    assert planned(world, change(a_fleet(select={}))).plan.devices == ()


def test_values_take_labels_and_long_ones_go_by_digest() -> None:
    world = a_world(releases=(CAM,), devices=(LAB,))
    config = {"cam": {"SITE": "x-{label.site}", "page": "p" * 2000}}
    computed = planned(world, change(a_fleet(config=config)))
    said = computed.intended["cam-1"].apps[0].config
    assert said["SITE"] == "x-lab"
    value = said["page"]
    assert isinstance(value, ValueByDigest)
    assert computed.values == {value.sha256: b"p" * 2000}
    again = applied(world, computed)
    changed = planned(again, change(a_fleet(config={"cam": {"SITE": "y-{label.site}", "page": "p" * 2000}})))
    assert changed.plan.devices[0].changes[0].config_changed


def test_a_change_of_labels_changes_nothing_by_itself_and_shows_in_the_next_plan() -> None:
    world = a_world(releases=(CAM,), devices=(LAB,))
    world = applied(world, planned(world, change(a_fleet())))
    moved = replace(world, devices=(replace(world.devices[0], labels={"site": "lyon"}),))
    computed = planned(moved, change(a_fleet("other", "cam@1.9.0", select={"site": "oslo"})))
    assert computed.plan.devices[0].changes[0].after is None


WORLD = a_world(releases=(CAM, CAM2, GW), devices=(LAB,))
REFUSED: list[tuple[str, World, PlanRequest, str]] = [
    (
        "the same app from two fleets, naming both",
        WORLD,
        change(a_fleet("a", "cam@1.9.0"), a_fleet("b", "cam@2.0.0")),
        "While planning, plan failed for device cam-1: fleets a and b both run app cam on it",
    ),
    (
        "an unknown release, naming the known ones",
        WORLD,
        change(a_fleet("a", "cam@3.0.0")),
        "While planning, plan failed for fleet a: there is no release 3.0.0 of app cam; known are 1.9.0, 2.0.0",
    ),
    (
        "an unknown app, also where no device is selected",
        WORLD,
        change(a_fleet("a", "web@1.0.0", select={"site": "nowhere"})),
        "fleet a: there is no release 1.0.0 of app web; no release of this app is known",
    ),
    (
        "a withdrawn release",
        a_world(releases=(replace(CAM, withdrawn="leaks"),)),
        change(a_fleet("a")),
        "While planning, plan failed for fleet a: cam 1.9.0 was withdrawn by its signers: leaks",
    ),
    (
        "a release below the security floor",
        a_world(releases=(replace(CAM, min_counter=2),)),
        change(a_fleet("a")),
        "While planning, plan failed for fleet a: cam 1.9.0 has counter 1, below the security floor 2 of its app",
    ),
    (
        "an undeclared key",
        WORLD,
        change(a_fleet("a", config={"cam": {"NOPE": "1"}})),
        "While planning, plan failed for fleet a: NOPE is not declared by cam 1.9.0",
    ),
    (
        "a value of the wrong type, without showing it",
        WORLD,
        change(a_fleet("a", config={"cam": {"BITRATE": "fast"}})),
        "While planning, plan failed for fleet a: app cam: BITRATE is not an integer within 2^53",
    ),
    (
        "a value whose label makes it unfit, naming the device",
        a_world(releases=(CAM,), devices=(DeviceFacts("cam-1", {"site": "lab", "room": "B2"}),)),
        change(a_fleet("a", config={"cam": {"SITE": "{label.room}"}})),
        "While planning, plan failed for device cam-1: app cam: SITE does not match its declared pattern [a-z-]{1,32}",
    ),
    (
        "a label that is not set, naming the device",
        WORLD,
        change(a_fleet("a", config={"cam": {"SITE": "{label.room}"}})),
        "While planning, plan failed for device cam-1: app cam: SITE uses label room, which is not set",
    ),
    (
        "configuration of an app that the fleet does not run",
        WORLD,
        change(a_fleet("a", config={"gw": {"X": "1"}})),
        "While planning, plan failed for fleet a: it configures app gw, which it does not run",
    ),
    (
        "an app listed twice",
        WORLD,
        change(a_fleet("a", "cam@1.9.0", "cam@2.0.0")),
        "While planning, plan failed for fleet a: app cam is listed twice",
    ),
    (
        "a fleet to remove that is not there",
        WORLD,
        change(a_fleet("a"), remove=("b",)),
        "While planning, plan failed for fleet b: there is no such fleet to remove",
    ),
    (
        "a contact that cannot be read",
        WORLD,
        change(a_fleet("a", contact={"every": "soon"})),
        "While planning, plan failed for fleet a: 'soon' is not a time such as 90s, 5m or 6h",
    ),
    (
        "a platform without an image",
        a_world(releases=(CAM,), devices=(replace(LAB, platform="linux/arm64"),)),
        change(a_fleet("a")),
        "While planning, plan failed for device cam-1: app cam 1.9.0: web has no image for linux/arm64",
    ),
]


@pytest.mark.parametrize(("world", "request_", "sentence"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refuses(world: World, request_: PlanRequest, sentence: str) -> None:
    assert any(said.endswith(sentence) for said in sentences(planned(world, request_)))


def test_refuses_what_would_not_fit_an_envelope() -> None:
    keys = {f"K{n}": {"service": "web", "type": "text", "env": f"K{n}", "max_bytes": 1024} for n in range(20)}
    world = a_world(releases=(release_facts("cam", "1.9.0", config=keys),))
    fits = planned(world, change(a_fleet(config={"cam": {f"K{n}": "x" * 1000 for n in range(11)}})))
    assert sentences(fits) == []
    computed = planned(world, change(a_fleet(config={"cam": {f"K{n}": "x" * 1000 for n in range(20)}})))
    assert "its desired state would have" in sentences(computed)[0]
    assert sentences(computed)[0].endswith("at most 16384 are allowed")


def test_a_withdrawal_stops_nothing_that_is_not_touched_and_refuses_what_is() -> None:
    world = a_world(releases=(CAM, GW), devices=(LAB,))
    world = applied(world, planned(world, change(a_fleet("a", "cam@1.9.0"))))
    world = replace(world, releases={**world.releases, ("cam", "1.9.0"): replace(CAM, withdrawn="")})
    elsewhere = planned(world, change(a_fleet("b", "gw@1.0.0", select={"site": "lyon"})))
    assert (elsewhere.plan.refusals, elsewhere.plan.unchanged) == ((), 1)
    here = planned(world, change(a_fleet("b", "gw@1.0.0")))
    assert "app cam 1.9.0 was withdrawn" in sentences(here)[0]


@pytest.mark.parametrize(
    "touch",
    [
        lambda w: replace(w, devices=(replace(LAB, labels={"site": "lab", "x": "y"}),)),
        lambda w: replace(w, quarantined={("cam", "2.0.0"): "it crashed"}),
        lambda w: replace(w, rollouts=1),
        lambda w: replace(w, devices=(*w.devices, DeviceFacts("cam-2", {}))),
        lambda w: replace(w, fleets={"z": a_fleet("z", "gw@1.0.0", select={"site": "z"})}),
        lambda w: replace(w, releases={**w.releases, ("cam", "1.9.0"): replace(CAM, min_counter=1)}),
        lambda w: replace(w, releases={**w.releases, ("cam", "1.9.0"): replace(CAM, withdrawn="")}),
    ],
    ids=["labels", "quarantine", "rollouts", "a device", "a fleet", "a floor", "a withdrawal"],
)
def test_the_world_is_another_when_anything_in_it_is(touch: Callable[[World], World]) -> None:
    request = change(a_fleet())
    assert planned(WORLD, request).plan.world != planned(touch(WORLD), request).plan.world


# --- properties

sites = st.sampled_from(["lab", "lyon", "oslo"])
devices = st.lists(st.fixed_dictionaries({"site": sites}), max_size=6).map(
    lambda labels: tuple(DeviceFacts(f"dev-{n}", dict(each)) for n, each in enumerate(labels))
)
apps = st.lists(st.sampled_from(["cam@1.9.0", "cam@2.0.0", "gw@1.0.0"]), min_size=1, max_size=2, unique=True)


@st.composite
def requests(draw: st.DrawFn) -> PlanRequest:
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True))
    fleets: list[FleetSpec] = []
    for name in names:
        settings = {"report_every_s": draw(st.sampled_from([30, 60, 300]))}
        config = {"cam": {"SITE": draw(st.sampled_from(["{label.site}", "fixed"]))}}
        run = draw(apps)
        used = config if any(r.startswith("cam") for r in run) else {}
        fleets.append(a_fleet(name, *run, select={"site": draw(sites)}, settings=settings, config=used))
    return change(*fleets)


def worlds(known: tuple[DeviceFacts, ...]) -> World:
    return World({}, known, {(r.release.app, r.release.version): r for r in (CAM, CAM2, GW)})


@given(devices, st.lists(requests(), min_size=1, max_size=3))
def test_planning_converges_and_then_rests(known: tuple[DeviceFacts, ...], steps: list[PlanRequest]) -> None:
    world = worlds(known)
    for request in steps:
        computed = planned(world, request)
        if computed.plan.refusals:
            continue
        world = applied(world, computed)
        assert planned(world, request).plan.devices == ()
        assert {d.generation for d in world.devices} <= set(range(len(steps) + 1))


@given(devices, requests())
def test_every_plan_without_refusals_can_be_signed_and_each_app_comes_from_one_fleet(
    known: tuple[DeviceFacts, ...], request: PlanRequest
) -> None:
    computed = planned(worlds(known), request)
    if computed.plan.refusals:
        return
    for name, state in computed.intended.items():
        names = [app.app for app in state.apps]
        assert len(names) == len(set(names))
        document = DesiredState(device_id=name, generation=1, issued_at=1, expires=2, apps=state.apps)
        assert len(dsse.pae("t", document.to_bytes())) < MAX_DESIRED_BYTES


@given(devices, requests(), st.randoms())
def test_the_order_of_fleets_and_devices_decides_nothing(
    known: tuple[DeviceFacts, ...], request: PlanRequest, chance: object
) -> None:
    shuffled = list(known)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one = planned(worlds(known), request)
    other = planned(worlds(tuple(shuffled)), PlanRequest(fleets=request.fleets[::-1]))
    assert one.plan.devices == other.plan.devices
    assert one.intended == other.intended
    assert len(one.plan.refusals) == len(other.plan.refusals)


def test_settings_of_several_fleets_are_the_smallest_that_any_sets() -> None:
    world = a_world(releases=(CAM, GW), devices=(LAB,))
    a = a_fleet("a", "cam@1.9.0", settings={"report_every_s": 300, "images_quota_bytes": 5})
    b = a_fleet("b", "gw@1.0.0", settings={"report_every_s": 120})
    state = planned(world, change(a, b)).intended["cam-1"]
    assert state.settings == Settings(report_every_s=120, images_quota_bytes=5)
