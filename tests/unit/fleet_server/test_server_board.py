"""Rows, orders, pages and summaries: tables, and properties against the plain way of doing the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from board_support import QUERIES, ROWS, STEPS, a_row, plainly
from hypothesis import given
from hypothesis import strategies as st
from server_support import NOW

from fleet_protocol.documents.device import Refusal
from fleet_protocol.documents.stream import DeviceRow
from fleet_protocol.wire.where import parse_sort, parse_where
from fleet_server.board.order import Order, Query, page
from fleet_server.board.row import Row
from fleet_server.board.summary import causes, common_label, counters, fleet_lines
from fleet_server.errors import BadRequestError


def test_a_row_is_its_document_already() -> None:
    row = a_row(memory=64, cpu=5)
    shown = DeviceRow.model_validate_json(row.encoded)
    assert (shown.device_id, shown.state, shown.fleets, shown.apps) == ("cam-1", "ok", ("eu",), {"gw": "1.9.0"})
    assert (shown.memory_bytes, shown.memory_limit_bytes, shown.cpu_percent) == (64, 100, None)
    assert shown.due_at == NOW + 180


def test_two_reports_tell_how_much_of_a_core_is_used_and_a_restart_tells_nothing() -> None:
    first = a_row(cpu=1_000_000)
    second = a_row(before=first, now=NOW + 10, cpu=3_500_000)
    assert second.cpu == 25.0
    assert a_row(before=second, now=NOW + 10, cpu=3_500_000).cpu == 25.0
    assert a_row(before=second, now=NOW + 20, cpu=7).cpu == -1.0


def test_since_is_kept_as_long_as_the_cause_is_the_same() -> None:
    first = a_row(app="failed")
    same = a_row(before=first, now=NOW + 60, app="failed")
    other = a_row(before=same, now=NOW + 90, app="failed", oom=1)
    assert (first.since, same.since, other.since, other.code) == (NOW, NOW, NOW + 90, "oom")
    assert a_row(silent=1000).since == NOW - 1000 + 180


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("cam", True), ("fleet=eu", True), ("fleet!=eu", False), ("state=ok", True), ("gw>=1.9", True),
        ("gw>1.9.0", False), ("app=gw@1.9.0", True), ("app=gw", True), ("site=lyon", True), ("label.site=lyon", True),
        ("memory<64", True), ("memory>=10", True), ("used=10%", True), ("online=yes", True), ("silent<1m", True),
        ("silent>1m", False), ("restarts=0", True), ("cpu>0", False), ("code=oom", False), ("platform=x", False),
    ],
)  # fmt: skip
def test_fields_of_a_device(where: str, holds: bool) -> None:
    assert Query(parse_where(where), ()).holds(a_row(), NOW) is holds


# --- orders and pages


@given(QUERIES, STEPS)
def test_an_order_that_follows_changes_is_the_one_made_anew(query: Query, steps: list[Row | str]) -> None:
    rows: dict[str, Row] = {}
    order = Order(query, (), NOW)
    for step in steps:
        if isinstance(step, str):
            rows.pop(step, None)
            order.update(step, None, NOW)
        else:
            rows[step.device_id] = step
            order.update(step.device_id, step, NOW)
        assert order.names(0, 100) == plainly(query, rows) == Order(query, rows.values(), NOW).names(0, 100)
        assert len(order) == len(plainly(query, rows))


@given(QUERIES, st.lists(ROWS, max_size=20), STEPS, st.integers(1, 5))
def test_pages_hold_every_row_that_stays_as_it_is_exactly_once(
    query: Query, first: list[Row], steps: list[Row | str], limit: int
) -> None:
    rows = {row.device_id: row for row in first}
    stays = {
        name: row for name, row in rows.items() if name not in {s if isinstance(s, str) else s.device_id for s in steps}
    }
    seen: list[str] = []
    cursor: str | None = None
    pending = list(steps)
    while True:
        part, cursor, total = page(query, rows.values(), NOW, cursor, limit)
        assert total == len(plainly(query, rows))
        assert len(part) <= limit
        seen += [row.device_id for row in part]
        if cursor is None:
            break
        for step in pending[:2]:
            if isinstance(step, str):
                rows.pop(step, None)
            else:
                rows[step.device_id] = step
        del pending[:2]
    mine = [name for name in seen if name in stays]
    assert mine == plainly(query, stays)


@pytest.mark.parametrize("cursor", ["", "x", "bm8", "WzEsMl0", "A" * 1999])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(BadRequestError):
        page(Query(parse_where(""), ()), [a_row()], NOW, cursor, 1)


def test_a_cursor_of_another_question_is_refused() -> None:
    rows = [a_row("cam-1"), a_row("cam-2")]
    _, cursor, _ = page(Query(parse_where(""), parse_sort("memory")), rows, NOW, None, 1)
    for other in (Query(parse_where("cam"), parse_sort("memory")), Query(parse_where(""), parse_sort("-memory"))):
        with pytest.raises(BadRequestError, match="belongs to another list"):
            page(other, rows, NOW, cursor, 1)


def test_a_scope_is_a_filter_that_cannot_be_left_out() -> None:
    rows = [a_row("cam-1"), a_row("cam-2", labels={"site": "oslo"})]
    found, _, total = page(Query(parse_where("!site=lyon"), (), {"site": "lyon"}), rows, NOW, None, 10)
    assert (found, total) == ([], 0)


# --- summaries


def test_the_sick_are_grouped_by_cause_with_the_label_that_explains_it() -> None:
    refusal = Refusal(code="E0204", sentence="While verifying, verifier failed: no trusted key signed it")
    labels: Callable[[int, str], dict[str, str]] = lambda n, site: {"role": "cam", "site": site, "rack": f"r{n}"}  # noqa: E731
    sick = [a_row(f"l-{n}", labels=labels(n, "lyon"), refusal=refusal) for n in range(3)]
    overdue = [a_row("o-1", labels=labels(9, "oslo"), silent=9999)]
    well = [a_row(f"w-{n}", labels=labels(n, "oslo")) for n in range(5)]
    told = causes([*well, *overdue, *sick])
    assert [(c.state, c.code, c.devices, c.example, c.label, c.label_devices) for c in told.causes] == [
        ("failed", "E0204", 3, "l-0", "site=lyon", 3),
        ("OVERDUE", "overdue", 1, "o-1", "rack=r9", 1),
    ]
    assert (told.devices, told.more, told.causes[0].why) == (4, 0, "no trusted key signed it")


def test_no_label_is_named_where_no_two_share_one() -> None:
    rows = [a_row("a", labels={"rack": "1"}), a_row("b", labels={"rack": "2"})]
    assert common_label(rows, {("rack", "1"): 1, ("rack", "2"): 1}) == ("", 0)


def test_counters_and_fleets_in_numbers() -> None:
    rows = [a_row("a"), a_row("b", app="failed", release="1.8.0"), a_row("c", labels={"site": "oslo"})]
    counted = counters(rows, NOW)
    assert (counted.devices, counted.online, counted.states) == (3, 3, {"ok": 2, "failed": 1})
    (line, empty) = fleet_lines(["eu", "none"], rows).fleets
    assert (line.name, line.devices, line.ok, line.running) == ("eu", 2, 1, {"gw@1.9.0": 1, "gw@1.8.0": 1})
    assert (empty.name, empty.devices) == ("none", 0)
