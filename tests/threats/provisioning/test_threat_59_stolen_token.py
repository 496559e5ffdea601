from __future__ import annotations

import pytest
from provisioning_support import NOW, Desk

from provisioning.authority.enrolment import EnrolmentRefusedError


def test_threat_59_a_token_that_was_used_admits_no_second_key(desk: Desk) -> None:
    token = desk.token()
    desk.enrol(token)
    with pytest.raises(EnrolmentRefusedError):
        desk.enrol(token)


def test_threat_59_a_token_used_late_admits_nobody_and_tells_nothing(desk: Desk) -> None:
    token = desk.token(ttl_s=3600)
    with pytest.raises(EnrolmentRefusedError) as late:
        desk.enrol(token, now=NOW + 3600)
    unknown = type(token)(token.url, token.ca_sha256, token.root_sha256, "unknown0", token.secret)
    with pytest.raises(EnrolmentRefusedError) as stranger:
        desk.enrol(unknown)
    assert late.value.as_dict() == stranger.value.as_dict()
    assert desk.store.enrolments() == []


def test_threat_59_a_token_that_fixes_the_name_gives_the_thief_no_other(desk: Desk) -> None:
    token = desk.token(device_id="gate-7", auto_approve=True)
    assert desk.enrol(token, requested_name="cam-1").device_id == "gate-7"
    with pytest.raises(EnrolmentRefusedError):
        desk.enrol(token, requested_name="gate-7")


def test_threat_59_by_default_an_operator_has_to_say_yes(desk: Desk) -> None:
    answer = desk.enrol(desk.token())
    assert (answer.status, answer.certificate_pem) == ("pending", None)
    assert desk.store.active_device_ids() == []
