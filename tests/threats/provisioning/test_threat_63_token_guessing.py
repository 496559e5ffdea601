from __future__ import annotations

import base64
import random
import statistics
import time

import pytest
from provisioning_support import NOW, Desk, make_csr

from fleet_protocol.documents.enrolment import EnrolRequest
from provisioning.authority.enrolment import EnrolmentRefusedError
from provisioning.authority.ratelimit import RateLimit
from provisioning.proof import secret_bytes

pytestmark = pytest.mark.alone

GUESSES = 2_000


def test_threat_63_a_secret_has_256_bits_of_chance(desk: Desk) -> None:
    secrets = {desk.token().secret for _ in range(50)}
    assert len(secrets) == 50
    assert {len(secret_bytes(s)) for s in secrets} == {32}


def test_threat_63_thousands_of_guesses_admit_nobody_and_all_get_one_answer(desk: Desk) -> None:
    token, csr, chance = desk.token(), make_csr(), random.Random(63)  # noqa: S311 - an attacker's guesses
    good = desk.request(token, csr)
    answers = set()
    for i in range(GUESSES):
        guess = good.model_copy(update={"proof": chance.randbytes(32).hex()})
        if i % 2:
            guess = guess.model_copy(update={"token_id": base64.b32encode(chance.randbytes(15)).decode().lower()})
        with pytest.raises(EnrolmentRefusedError) as caught:
            desk.desk.enrol(guess, NOW)
        answers.add(str(caught.value.as_dict()))
    assert len(answers) == 1
    assert desk.store.enrolments() == []
    assert desk.desk.enrol(good, NOW).status == "pending"


def test_threat_63_an_unknown_token_takes_as_long_as_a_known_one_and_challenges_tell_nothing(desk: Desk) -> None:
    token, csr = desk.token(), make_csr()
    known = desk.request(token, csr, proof="0" * 64)
    unknown = desk.request(type(token)("https://x", "", "", "unknown0", token.secret), csr, proof="0" * 64)
    took: dict[str, list[float]] = {"known": [], "unknown": []}

    def once(name: str, request: EnrolRequest) -> None:
        begin = time.perf_counter()
        with pytest.raises(EnrolmentRefusedError):
            desk.desk.enrol(request, NOW)
        took[name].append(time.perf_counter() - begin)

    for _ in range(300):
        once("known", known)
        once("unknown", unknown)
    known_s, unknown_s = (statistics.median(took[n]) for n in ("known", "unknown"))
    # One look-up by primary key in a file that is in memory, found or not: far less than a network's own jitter.
    assert abs(known_s - unknown_s) < 0.0005
    assert len(desk.desk.challenge("unknown0", NOW).nonce) == len(desk.desk.challenge(token.token_id, NOW).nonce)


def test_threat_63_guessing_at_speed_is_slowed_for_one_address_and_for_no_other() -> None:
    limit = RateLimit(per_second=1, burst=10)
    allowed = sum(limit.allows("198.51.100.7", i / 1000) for i in range(100_000))  # 100 s of 1000 guesses a second
    assert allowed <= 110
    assert limit.allows("198.51.100.8", 100.0)
