from __future__ import annotations

from typing import Any

import pytest
from server_support import NOW

from fleet_protocol.documents.device import Refusal, Reported, ReportedApp
from fleet_protocol.documents.fleet import DeviceView
from fleet_server.selection import Contact
from fleet_server.store.records import Mark
from fleet_server.view import Known, ago, judge

HASH = "a" * 64
MARK = Mark(3, HASH)


def reported(**over: Any) -> Reported:
    fields = {
        "device_id": "cam-1", "boot_id": "b", "at": NOW, "generation": 3, "sha256": HASH, "running_generation": 3,
        "apps": (ReportedApp(app="cam", state="ok", release="1.9.0"),),
    }  # fmt: skip
    return Reported(**{**fields, **over})


def known(silent: int = 5, desired: Mark = MARK, *, online: bool = True, **over: Any) -> Known:
    return Known(reported(**over), NOW - silent, online, desired)


def an_app(state: Any, why: str = "") -> tuple[ReportedApp, ...]:
    return (ReportedApp(app="cam", state=state, why=why, release="1.9.0"),)


def refused(generation: int | None, **over: Any) -> Refusal:
    sentence = "While verifying, verifier failed for release cam 1.9.0: no trusted key signed it"
    return Refusal(code="E0200", sentence=sentence, generation=generation, **over)


TABLE: list[tuple[str, Known, tuple[str, str]]] = [
    ("running what is desired is ok", known(), ("ok", "")),
    ("nothing desired and nothing run is ok", known(desired=Mark(), generation=0, sha256=None, apps=()), ("ok", "")),
    ("never seen is unknown", Known(None, None, False, Mark()), ("unknown", "enrolled, never seen")),
    ("seen but never reported is unknown", Known(None, NOW - 9, True, Mark()), ("unknown", "enrolled, never reported")),
    (
        "long gone without a report is overdue",
        Known(None, NOW - 9000, True, Mark()),
        ("OVERDUE", "never reported, silent for 2 h"),
    ),
    ("silent beyond three contacts is overdue", known(192), ("OVERDUE", "silent 3.2x contact (3 min)")),
    (
        "overdue outranks what was failed then",
        known(600, apps=an_app("failed")),
        ("OVERDUE", "silent 10.0x contact (10 min)"),
    ),
    ("exactly three contacts is not overdue yet", known(180), ("ok", "")),
    ("offline inside the window is quiet", known(20, online=False), ("quiet", "offline for 20 s, due in 40 s")),
    (
        "a refusal of what is desired is failed",
        known(refusal=refused(3)),
        ("failed", "no trusted key signed it"),
    ),
    ("a refusal that gives its reason is failed", known(refusal=refused(3, reason="bad")), ("failed", "bad")),
    ("a refusal of something older is history", known(refusal=refused(2)), ("ok", "")),
    ("a refusal of nothing in particular counts", known(refusal=refused(None)), ("failed", "no trusted key signed it")),
    ("a failed app is failed", known(apps=an_app("failed", "exit 1")), ("failed", "cam: exit 1")),
    (
        "failed stays failed while quiet",
        known(online=False, apps=an_app("failed", "exit 1")),
        ("failed", "cam: exit 1"),
    ),
    (
        "a release that went back is failed, with the device's own words",
        known(apps=an_app("failed", "1.9.1 went back to 1.9.0: web was killed for memory twice")),
        ("failed", "cam: 1.9.1 went back to 1.9.0: web was killed for memory twice"),
    ),
    ("preparing is updating", known(preparing="fetching 61 %"), ("updating", "fetching 61 %")),
    (
        "an older generation is updating",
        known(generation=2),
        ("updating", "generation 3 is not accepted yet, it has 2"),
    ),
    ("another hash is updating", known(sha256="b" * 64), ("updating", "generation 3 is not accepted yet, it has 3")),
    ("accepted and not running yet is updating", known(running_generation=2), ("updating", "starting generation 3")),
    ("an app in its health window is updating", known(apps=an_app("updating", "soak")), ("updating", "cam: soak")),
    ("held is held", known(apps=an_app("held", "pinned")), ("held", "cam: pinned")),
    ("degraded is degraded", known(apps=an_app("degraded", "OOM x3")), ("degraded", "cam: OOM x3")),
    ("stopped is degraded", known(apps=an_app("stopped")), ("degraded", "cam: stopped")),
    (
        "last good in place of the desired release is degraded",
        known(apps=(ReportedApp(app="cam", state="ok", release="1.8.2", desired_release="1.9.0"),)),
        ("degraded", "cam runs 1.8.2, not 1.9.0"),
    ),
]


@pytest.mark.parametrize(("facts", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_state(facts: Known, expected: tuple[str, str]) -> None:
    assert judge(facts, NOW) == expected


def test_a_device_that_sleeps_for_hours_is_quiet_inside_its_own_window() -> None:
    sleeping = Known(reported(), NOW - 5 * 3600, False, MARK, Contact(6 * 3600, 3.0))
    assert judge(sleeping, NOW) == ("quiet", "offline for 5 h, due in 60 min")


def test_a_reason_from_a_device_cannot_steer_a_terminal() -> None:
    _, why = judge(known(apps=an_app("degraded", "disk")), NOW)
    assert why == "cam: disk"
    _, why = judge(known(refusal=refused(3, reason="\x1b[2J\u202e" + "x" * 500)), NOW)
    assert "\x1b" not in why
    assert "\u202e" not in why
    DeviceView(
        device_id="cam-1", labels={}, state="failed", why=why, online=True, last_seen=None, enrolled_at=0,
        fingerprint=HASH, certificate_expires=0, desired_generation=0, desired_sha256=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")]
)
def test_lengths_of_time_are_told_shortly(seconds: int, words: str) -> None:
    assert ago(seconds) == words
