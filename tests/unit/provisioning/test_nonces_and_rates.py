from __future__ import annotations

import pytest
from provisioning_support import NOW

from provisioning.authority.nonces import LIFE_S, Nonces
from provisioning.authority.ratelimit import RateLimit


def test_a_nonce_holds_for_its_purpose_and_subject_and_time_only() -> None:
    nonces = Nonces()
    nonce = nonces.issue("enrol", "t1", NOW)
    assert nonces.holds(nonce, "enrol", "t1", NOW)
    assert nonces.holds(nonce, "enrol", "t1", NOW + LIFE_S - 1)
    assert not nonces.holds(nonce, "enrol", "t1", NOW + LIFE_S)
    assert not nonces.holds(nonce, "enrol", "t1", NOW - 1)
    assert not nonces.holds(nonce, "session", "t1", NOW)
    assert not nonces.holds(nonce, "enrol", "t2", NOW)
    assert not Nonces().holds(nonce, "enrol", "t1", NOW)


@pytest.mark.parametrize("wrong", ["", "AAAA", "!" * 54, "A" * 54, "A" * 200])
def test_what_is_no_nonce_does_not_hold(wrong: str) -> None:
    assert not Nonces().holds(wrong, "enrol", "t1", NOW)


def test_a_nonce_is_spent_once_and_no_second_spelling_of_it_holds() -> None:
    nonces = Nonces()
    nonce = nonces.issue("enrol", "t1", NOW)
    assert nonces.spend(nonce, NOW)
    assert not nonces.spend(nonce, NOW + 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [nonce[:-1] + c for c in alphabet if c != nonce[-1]] + [nonce + "=", nonce + "\n"]
    assert [o for o in others if nonces.holds(o, "enrol", "t1", NOW)] == []


def test_what_is_remembered_is_forgotten_once_it_could_not_hold_any_more() -> None:
    nonces = Nonces()
    for i in range(100):
        nonces.spend(nonces.issue("enrol", "t1", NOW + i), NOW + i)
    nonces.spend("x", NOW + LIFE_S + 60)
    assert len(nonces._spent) == 40


def test_a_burst_is_allowed_then_the_rate_and_each_key_has_its_own() -> None:
    limit = RateLimit(per_second=2, burst=3)
    assert [limit.allows("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert limit.allows("b", 0.0)
    assert [limit.allows("a", 1.0) for _ in range(3)] == [True, True, False]


def test_the_table_of_rates_is_bounded() -> None:
    limit = RateLimit(per_second=1, burst=1, keys=10)
    for i in range(1000):
        limit.allows(str(i), 0.0)
    assert len(limit._buckets) == 10
