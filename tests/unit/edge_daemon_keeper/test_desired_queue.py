"""Which document prepare gets next."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.desired_queue import QUARANTINE_S, REFUSED_CAP_S, TRIES, Claim, DesiredQueue, Document, document

SHA = "ab" * 32


def queue(accepted: Claim | None = None) -> DesiredQueue:
    return DesiredQueue(accepted, {})


def doc(data: bytes, claim: Claim | None = None) -> Document:
    return document(data, [] if claim is None else [("generation", str(claim.generation)), ("sha256", claim.sha256)])


@pytest.mark.parametrize(
    ("properties", "claim"),
    [
        ([("generation", "7"), ("sha256", SHA)], Claim(7, SHA)),
        ([], None),
        ([("generation", "7")], None),
        ([("generation", "-7"), ("sha256", SHA)], None),
        ([("generation", "9" * 17), ("sha256", SHA)], None),
        ([("generation", "\N{SUPERSCRIPT TWO}"), ("sha256", SHA)], None),
        ([("generation", "7"), ("sha256", SHA.upper())], None),
        ([("generation", "7"), ("sha256", SHA + "\n")], None),
        ([("x", "y")] * 16 + [("generation", "7"), ("sha256", SHA)], None),
    ],
)
def test_claims_are_read_within_bounds(properties: list[tuple[str, str]], claim: Claim | None) -> None:
    assert document(b"x", properties).claim == claim


@given(st.lists(st.tuples(st.text(), st.text()), max_size=20))
def test_no_properties_make_it_fail(properties: list[tuple[str, str]]) -> None:
    assert document(b"x", properties).claim is None


def test_only_the_claim_of_what_is_accepted_makes_a_message_uninteresting() -> None:
    q = queue(Claim(3, SHA))
    assert not q.offer(doc(b"same", Claim(3, SHA)))
    assert q.offer(doc(b"other hash", Claim(3, "cd" * 32)))
    assert q.offer(doc(b"older", Claim(2, SHA)))
    assert q.offer(doc(b"no claim"))


def test_the_newest_waiting_document_replaces_an_older_one() -> None:
    q = queue()
    for n in range(5):
        q.offer(doc(b"%d" % n))
    ready, _ = q.ready(0.0)
    assert ready is not None
    assert ready.data == b"4"
    q.started(ready)
    assert q.ready(0.0)[0] is None


def test_refused_bytes_do_not_come_in_again_and_each_refusal_makes_the_next_try_later_up_to_a_cap() -> None:
    q, now = queue(), 0.0
    waits = []
    for n in range(12):
        assert q.offer(doc(b"%d" % n))
        ready, due = q.ready(now)
        now = max(now, due)
        waits.append(due)
        ready, _ = q.ready(now)
        assert ready is not None
        q.started(ready)
        q.refused(now, chance=0.999)
        assert not q.offer(ready)
    gaps = [b - a for a, b in pairwise(waits[1:])]
    assert gaps == sorted(gaps)
    assert max(gaps) <= REFUSED_CAP_S
    assert now < 60


def test_what_failed_in_passing_is_tried_again_later_or_when_the_network_is_back() -> None:
    q = queue()
    q.offer(doc(b"genuine"))
    taken, _ = q.ready(0.0)
    assert taken is not None
    q.started(taken)
    q.failed(0.0, chance=0.0)
    assert q.ready(0.0) == (None, 2.5)
    q.hurry(1.0)
    assert q.ready(1.0)[0] == taken


def test_a_forged_document_does_not_take_the_place_of_one_that_failed_in_passing() -> None:
    q = queue()
    genuine = doc(b"genuine")
    q.offer(genuine)
    q.started(genuine)
    q.failed(0.0, chance=0.0)
    q.offer(doc(b"forged"))
    forged, _ = q.ready(1.0)
    assert forged is not None
    q.started(forged)
    q.refused(1.0, chance=0.0)
    assert q.ready(100.0)[0] == genuine


def test_acceptance_forgets_what_failed_before_it() -> None:
    q = queue()
    old, new = doc(b"old"), doc(b"new")
    q.offer(old)
    q.started(old)
    q.failed(0.0, chance=0.0)
    q.offer(new)
    q.started(new)
    q.accepted_now(Claim(2, SHA))
    assert q.ready(10_000.0) == (None, float("inf"))
    assert not q.offer(doc(b"again", Claim(2, SHA)))


def test_three_ends_without_an_outcome_put_a_document_aside_for_an_hour() -> None:
    q, poison = queue(), doc(b"poison")
    q.offer(poison)
    verdicts = []
    for n in range(TRIES + 1):
        q.started(poison)
        verdicts.append(q.crashed(float(n), chance=0.0))
    assert verdicts == [False, False, True, False]
    assert q.ready(100.0) == (None, TRIES + QUARANTINE_S)
    q.hurry(100.0)
    assert q.ready(100.0)[0] is None
    q.offer(doc(b"another"))
    assert q.ready(100.0)[0] is not None


@given(st.lists(st.sampled_from(["offer", "garbage", "refuse", "fail", "accept", "time"]), max_size=60))
def test_a_genuine_document_offered_last_is_always_prepared_within_seconds(steps: list[str]) -> None:
    q, now = queue(), 0.0
    for n, step in enumerate(steps):
        ready, _ = q.ready(now)
        if step == "time":
            now += 0.3
        elif step in ("offer", "garbage"):
            q.offer(doc(b"%d" % n))
        elif ready is not None and q.running is None:
            q.started(ready)
            match step:
                case "refuse":
                    q.refused(now, chance=0.5)
                case "fail":
                    q.failed(now, chance=0.5)
                case _:
                    q.accepted_now(Claim(n, SHA))
    genuine = doc(b"genuine")
    q.offer(genuine)
    ready, due = q.ready(now)
    assert (ready or q.ready(due)[0]) == genuine
    assert due - now <= REFUSED_CAP_S
