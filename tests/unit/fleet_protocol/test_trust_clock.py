"""Which time is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_support import NOW, Device, Time, World, new_key

from fleet_protocol.trust.clock import BUILD_TIME, PLAUSIBLE_AHEAD_S, TrustedClock
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.wire.errors import TrustError

BUILT = datetime.fromtimestamp(BUILD_TIME, UTC)


def clock_at(when: datetime) -> TrustedClock:
    time = Time(when)
    return TrustedClock(TrustStore(None), system=time.system, monotonic=time.monotonic)


@pytest.mark.parametrize(
    ("system", "believed"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), BUILT),
        (BUILT - timedelta(seconds=1), BUILT),
        (NOW, NOW),
        (BUILT + timedelta(seconds=PLAUSIBLE_AHEAD_S), BUILT + timedelta(seconds=PLAUSIBLE_AHEAD_S)),
        (BUILT + timedelta(seconds=PLAUSIBLE_AHEAD_S + 1), BUILT),
        (datetime(2099, 1, 1, tzinfo=UTC), BUILT),
    ],
    ids=["at 1970", "a second before the build", "plausible", "at the bound", "beyond the bound", "in 2099"],
)
def test_a_system_clock_is_believed_between_floor_and_bound(system: datetime, believed: datetime) -> None:
    assert clock_at(system).now() == believed


def test_a_clock_set_back_meets_the_saved_floor() -> None:
    time = Time(NOW)
    store = TrustStore(None)
    TrustedClock(store, system=time.system, monotonic=time.monotonic).save()
    time.now = datetime(1970, 1, 1, tzinfo=UTC)
    assert TrustedClock(store, system=time.system, monotonic=time.monotonic).now() == NOW


@given(st.lists(st.integers(0, 2**40), max_size=8))
def test_saving_never_lowers_the_floor(times: list[int]) -> None:
    store = TrustStore(None)
    floors = []
    for at in times:
        clock = TrustedClock(store, system=partial(float, at), monotonic=lambda: 0.0)
        clock.save()
        floors.append(clock.floor())
    store.close()
    assert floors == sorted(floors)


def test_a_signed_statement_sets_the_time_and_runs_on_monotonic_time(world: World, device: Device) -> None:
    device.time.now = datetime(2099, 1, 1, tzinfo=UTC)
    device.client.refresh()
    nonce = device.clock.new_nonce()
    device.clock.accept(world.time_statement(nonce, NOW), nonce, (world.time_key.public,))
    assert device.clock.signed
    device.time.ticks += 30
    assert device.clock.now() == NOW + timedelta(seconds=30)


def test_the_signed_time_is_the_floor_of_later_processes(world: World, device: Device) -> None:
    later = NOW + timedelta(days=100)
    nonce = device.clock.new_nonce()
    device.clock.accept(world.time_statement(nonce, later), nonce, (world.time_key.public,))
    device.time.now = datetime(1970, 1, 1, tzinfo=UTC)
    device.boot()
    assert device.clock.now() == later


def test_a_wrongly_believed_system_time_is_corrected(world: World, device: Device) -> None:
    device.time.now = NOW + timedelta(days=100)
    device.clock.save()
    nonce = device.clock.new_nonce()
    device.clock.accept(world.time_statement(nonce, NOW), nonce, (world.time_key.public,))
    assert device.clock.floor() == int(NOW.timestamp())


@pytest.mark.parametrize("change", ["nonce", "key", "early", "far"])
def test_a_statement_that_is_not_the_answer_is_refused(world: World, device: Device, change: str) -> None:
    nonce = device.clock.new_nonce()
    keys = (world.time_key.public,)
    device.clock.accept(world.time_statement(nonce, NOW), nonce, keys)
    words = {
        "nonce": "its nonce is not ours",
        "key": "no trusted key",
        "early": "says 2026-05-30, before 2026-06-01",
        "far": "more than 20 years",
    }
    at = {"early": NOW - timedelta(days=2), "far": NOW + timedelta(days=8000)}.get(change, NOW)
    signer = new_key(world.folder, "stranger") if change == "key" else world.time_key
    asked = device.clock.new_nonce()
    statement = world.time_statement(nonce if change == "nonce" else asked, at, signer)
    with pytest.raises(TrustError, match=words[change]):
        device.clock.accept(statement, asked, keys)
    assert device.clock.floor() == int(NOW.timestamp())


def test_the_first_contact_learns_the_time_keys_and_then_the_time(world: World, device: Device) -> None:
    device.time.now = datetime(1970, 1, 1, tzinfo=UTC)
    device.verifier.update_time(device.ask_time)
    assert device.clock.now() == NOW
    assert device.client.fresh
