from __future__ import annotations

from itertools import permutations

import pytest
from server_support import a_fleet

from fleet_protocol.documents.desired import Settings
from fleet_server.selection import Contact, contact_of, factor, merged_settings, read_contact, seconds, selects


@pytest.mark.parametrize(
    ("select", "labels", "expected"),
    [
        ({"site": "lab"}, {"site": "lab", "x": "y"}, True),
        ({"site": "lab", "x": "y"}, {"site": "lab"}, False),
        ({"site": "lab"}, {"site": "LAB"}, False),
        ({}, {"site": "lab"}, False),
    ],
)
def test_a_selector_wants_every_label_exactly(select: dict[str, str], labels: dict[str, str], expected: bool) -> None:
    assert selects(a_fleet(select=select), labels) is expected


def test_settings_come_out_alike_in_any_order() -> None:
    fleets = [
        a_fleet("a", settings={"report_every_s": 300}),
        a_fleet("b", settings={"report_every_s": 30, "log_bytes_per_container": 65536}),
        a_fleet("c"),
    ]
    merged = {merged_settings(order) for order in permutations(fleets)}
    assert merged == {Settings(report_every_s=30, log_bytes_per_container=65536)}


def test_a_special_case_of_contact_counts_for_the_devices_it_matches() -> None:
    said = {"every": "5m", "overdue": "3x", "satellite": {"match": {"link": "sat"}, "every": "6h"}}
    assert read_contact(said, {}) == Contact(300, 3.0)
    assert read_contact(said, {"link": "sat"}) == Contact(6 * 3600, 3.0)


def test_the_most_patient_fleet_decides_and_an_unreadable_one_does_not() -> None:
    fleets = [
        a_fleet("a", contact={"every": "5m"}),
        a_fleet("b", contact={"every": 60}),
        a_fleet("c", contact={"every": 0}),
    ]
    assert contact_of(fleets, {}) == Contact(300, 3.0)
    assert contact_of([], {}) == Contact(60, 3.0)


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("5m", 300), ("6h", 21600), ("1d", 86400), (7, 7), ("8", 8)]
)
def test_times_are_read(text: object, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0s", "5 m", "-1", "1w", True, None, 1.5, []])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a time"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "x", "0x", "0.5", [], "9999x"])
def test_what_is_no_factor_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a factor"):
        factor(text)
