"""A hundred devices with one fault are one line."""

from __future__ import annotations

from typing import Any

from tui_support import NOW, a_view

from tui.model.causes import SILENT, Cause, causes
from tui.model.rows import DeviceRow, device_row


def a_row(name: str, state: str, why: str, **over: Any) -> DeviceRow:
    return device_row(a_view(device_id=name, state=state, why=why, **over))


def test_numbers_do_not_tear_a_cause_apart() -> None:
    found = causes([a_row("a", "degraded", "disk 93 % full"), a_row("b", "degraded", "disk 95 % full")])
    assert found == [
        Cause("degraded", "disk # % full", "disk # % full", 2, "a", "site=lyon", NOW),
    ]


def test_one_cause_keeps_its_own_words_and_names_what_all_share() -> None:
    labels = [{"site": "oslo", "rack": str(n)} for n in range(3)]
    found = causes([a_row(f"d{n}", "failed", "key-3 is not trusted", labels=x) for n, x in enumerate(labels)])
    assert [(c.reason, c.devices, c.example, c.common) for c in found] == [
        ("key-3 is not trusted", 3, "d0", "site=oslo")
    ]


def test_the_worst_comes_first_and_what_is_well_is_no_cause() -> None:
    rows = [
        a_row("a", "ok", ""), a_row("b", "quiet", "offline for 2 h"), a_row("c", "degraded", "clock"),
        a_row("d", "OVERDUE", "silent 4x contact (20 h)"), a_row("e", "OVERDUE", "never reported, silent for 3 d"),
        a_row("f", "failed", ""), a_row("g", "updating", "pulling"),
    ]  # fmt: skip
    assert [(c.state, c.reason, c.devices) for c in causes(rows)] == [
        ("failed", "failed", 1), ("OVERDUE", SILENT, 2), ("degraded", "clock", 1),
    ]  # fmt: skip


def test_devices_that_share_no_label_are_said_to_share_none() -> None:
    rows = [a_row("a", "failed", "x", labels={"site": "lyon"}), a_row("b", "failed", "x", labels={})]
    assert [c.common for c in causes(rows)] == [""]
