from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from provisioning_support import NOW, Desk, make_csr

from provisioning.authority.enrolment import EnrolmentRefusedError
from provisioning.authority.records import EnrolmentRecord

RIVALS = 50
ROUNDS = 20


def test_threat_60_of_many_who_spend_a_token_at_once_exactly_one_wins_every_time(desk: Desk) -> None:
    barrier = threading.Barrier(RIVALS)

    def spend(token_id: str, rival: int) -> bool:
        record = EnrolmentRecord(
            f"{token_id[:12]}{rival:04d}", token_id, "pending", "cam", f"{rival:064d}", "pem", {}, NOW
        )
        barrier.wait()
        return desk.store.admit(record, NOW) is not None

    with ThreadPoolExecutor(RIVALS) as pool:
        for _ in range(ROUNDS):
            token = desk.token()
            won = list(pool.map(lambda rival, t=token.token_id: spend(t, rival), range(RIVALS)))
            assert won.count(True) == 1
    assert len(desk.store.enrolments()) == ROUNDS


def test_threat_60_the_whole_desk_lets_one_key_through_and_a_captured_request_never_twice(desk: Desk) -> None:
    token, csrs = desk.token(), [make_csr() for _ in range(8)]
    requests = [desk.request(token, csr) for csr in csrs for _ in range(2)]

    def ask(request: object) -> str:
        try:
            return desk.desk.enrol(request, NOW).fingerprint  # type: ignore[arg-type]
        except EnrolmentRefusedError:
            return ""

    with ThreadPoolExecutor(len(requests)) as pool:
        admitted = {f for f in pool.map(ask, requests) if f}
        assert len(admitted) == 1
        assert [f for f in pool.map(ask, requests) if f] == []
    (row,) = desk.desk.rows()
    assert {row.fingerprint} == admitted
